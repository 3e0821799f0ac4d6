// Writes safetensors files as a stream, in bounded memory: a header, then the tensors in the order
// of the header. Reading them is model/weights.h.
#ifndef LONGLEAF_SERVICE_EVAL_TENSOR_FILE_H_
#define LONGLEAF_SERVICE_EVAL_TENSOR_FILE_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace longleaf::service::eval {

struct TensorSpec {
  std::string name;
  std::string dtype;           // as safetensors spells it: "F32", "BF16", "F16", "I32"
  std::vector<int64_t> shape;  // row-major

  int64_t elements() const;
  int64_t bytes() const;  // of its data
};

// Bytes of one element of a dtype named above; 0 for another.
int64_t TensorElementBytes(const std::string& dtype);

// One file being written. It carries a temporary name until Finish renames it, so that a run that
// fails leaves no half of a file behind. Not thread-safe.
class TensorFileWriter {
 public:
  // The header with all tensors of the file; their data follow by Append. INVALID_ARGUMENT for an
  // unknown dtype, otherwise what the file system says.
  static absl::StatusOr<std::unique_ptr<TensorFileWriter>> Create(
      const std::string& path, const std::vector<TensorSpec>& tensors);
  ~TensorFileWriter();
  TensorFileWriter(const TensorFileWriter&) = delete;
  TensorFileWriter& operator=(const TensorFileWriter&) = delete;

  // The next bytes of the tensors' data, in the order of the specs, cut anywhere.
  absl::Status Append(absl::Span<const std::byte> data);
  template <typename T>
  absl::Status AppendValues(absl::Span<const T> values) {
    return Append({reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)});
  }
  // FAILED_PRECONDITION when more or fewer bytes came than the header promises.
  absl::Status Finish();

 private:
  TensorFileWriter(std::string path, std::FILE* file, int64_t data_bytes);

  const std::string path_;
  std::FILE* file_;
  int64_t missing_bytes_;  // of the data
};

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_TENSOR_FILE_H_
