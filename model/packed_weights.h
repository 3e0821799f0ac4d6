// The head of a file of packed weights: what is in it, and what it was made from. The format is
// specified in PACKED_WEIGHTS_FORMAT.md; packed_weights_file.h reads and writes whole files.
#ifndef LONGLEAF_MODEL_PACKED_WEIGHTS_H_
#define LONGLEAF_MODEL_PACKED_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "model/file_identity.h"

namespace longleaf::model {

inline constexpr uint32_t kPackedWeightsVersion = 1;  // never reused
inline constexpr int64_t kPackedWeightsAlignment = 4096;

// A file that the weights were read from.
struct WeightSource {
  std::string name;  // within the model directory
  FileIdentity identity;
  std::string sha256;  // 64 hex digits, when a SHA256SUMS named the file and it was as named

  friend bool operator==(const WeightSource&, const WeightSource&) = default;
};

// The numbers are stored: never renumber.
enum class PackedKind : uint8_t {
  kMatrix = 1,  // Matrix::packed() of a backend with the file's layout
  kVector = 2,  // little-endian f32 [in_features]
};

struct PackedItem {
  std::string name;  // of the tensors in it, joined by '+'
  PackedKind kind = PackedKind::kMatrix;
  kernels::MatrixShape shape;  // of a vector: [1, in_features], kNone, kF32
  int64_t bytes = 0;
  int64_t offset = 0;     // in the file; a multiple of kPackedWeightsAlignment
  uint64_t checksum = 0;  // XXH3-64 of the bytes
};

struct PackedWeightsHead {
  static constexpr std::string_view kMagic = "LLWEIGHT";  // the first bytes of a file
  static constexpr int64_t kMaxBytes = 16 << 20;

  // What the file is valid for.
  std::string layout;  // Backend::packed_layout()
  std::string config;  // Config::Canonical()
  std::vector<WeightSource> sources;

  std::string weights_digest;  // DigestWeights of the sources: 64 hex digits
  std::vector<PackedItem> items;
  int64_t file_bytes = 0;

  // Sets the offsets of the items and file_bytes from their names and sizes. INVALID_ARGUMENT when
  // the head would be larger than kMaxBytes or hold what Parse refuses.
  absl::Status LayOut();
  // The head as it stands at the beginning of the file. After LayOut.
  std::string Encode() const;
  // Reads the head of a file of `file_bytes` bytes whose first bytes are `prefix` (the whole file,
  // or at least its head). INVALID_ARGUMENT for a file of another kind or version; DATA_LOSS when
  // its checksum is wrong, or any length, count, number or place is not as the format says. Both
  // begin with `name`.
  static absl::StatusOr<PackedWeightsHead> Parse(absl::Span<const std::byte> prefix,
                                                 int64_t file_bytes, const std::string& name);
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_PACKED_WEIGHTS_H_
