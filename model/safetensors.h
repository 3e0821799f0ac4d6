// Weight files in the safetensors format: a little-endian u64 header length, a JSON header, then
// the tensors' bytes. Files are mapped, not copied; the header is trusted in nothing.
#ifndef LONGLEAF_MODEL_SAFETENSORS_H_
#define LONGLEAF_MODEL_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/file_identity.h"

namespace longleaf::model {

enum class TensorType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool, kF8 };
int64_t BytesOf(TensorType type);     // of one element
const char* NameOf(TensorType type);  // as the format spells it: "F32"

// One tensor's place in a file.
struct TensorEntry {
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;  // row-major; every extent >= 0; empty: one element
  int64_t begin = 0;           // bytes from the end of the header
  int64_t end = 0;             // end - begin = elements * BytesOf(type)
};

struct SafetensorsHeader {
  static constexpr int64_t kMaxBytes = 32 << 20;

  std::map<std::string, TensorEntry> tensors;
  int64_t data_begin = 0;  // offset in the file

  // Reads the header of a file of `file_bytes` bytes whose first bytes are `prefix` (the whole
  // file, or at least its header). INVALID_ARGUMENT, beginning with `name`, unless every tensor has
  // a known type, a shape whose size is its byte count, and bytes inside the file that no other
  // tensor has, and the tensors together fill the file.
  static absl::StatusOr<SafetensorsHeader> Parse(absl::Span<const std::byte> prefix,
                                                 int64_t file_bytes, const std::string& name);
};

// A tensor in a mapped file. Valid while its file is.
struct TensorView {
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;
  absl::Span<const std::byte> bytes;  // may be unaligned
};

// One mapped file. Immutable and thread-safe. The file must not shrink while it is mapped.
class SafetensorsFile {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::string& path() const { return path_; }
  absl::Span<const std::byte> bytes() const { return bytes_; }  // the whole file
  const FileIdentity& identity() const { return identity_; }    // when it was mapped
  const std::map<std::string, TensorEntry>& tensors() const { return header_.tensors; }
  // NOT_FOUND names file and tensor.
  absl::StatusOr<TensorView> Find(const std::string& tensor) const;
  // Tells the system that these bytes of the file are not needed again soon.
  void Release(absl::Span<const std::byte> bytes) const;

 private:
  SafetensorsFile(std::string path, absl::Span<const std::byte> bytes)
      : path_(std::move(path)), bytes_(bytes) {}

  const std::string path_;
  const absl::Span<const std::byte> bytes_;
  FileIdentity identity_;
  SafetensorsHeader header_;
};

// All weight files of a model directory: model.safetensors, or what model.safetensors.index.json
// lists. Immutable and thread-safe.
class WeightFiles {
 public:
  static constexpr int64_t kMaxShards = 1024;

  // NOT_FOUND when the directory has neither. INVALID_ARGUMENT names file and tensor: a damaged
  // header, an index that leads outside the directory or to a tensor that is not there, a tensor
  // in two files, a tensor the index does not know.
  static absl::StatusOr<WeightFiles> Open(const std::string& directory);

  // Where a tensor lies. NOT_FOUND names the directory and the tensor.
  struct Place {
    const SafetensorsFile* file = nullptr;
    TensorView tensor;
  };
  absl::StatusOr<Place> Find(const std::string& tensor) const;

  // In order of their names.
  const std::vector<std::unique_ptr<SafetensorsFile>>& files() const { return files_; }
  const std::map<std::string, size_t>& tensors() const { return tensors_; }  // name -> file

 private:
  std::string directory_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, size_t> tensors_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_SAFETENSORS_H_
