// Matrix products through cuBLASLt: one shape of call, errors as Status, algorithms chosen once for
// each shape and kept.
//
// What a row of a result may depend on. An algorithm is chosen for a RANGE of row counts
// (RowRange): all of 1..64, then up to each power of two; within a range every product of a shape
// runs the same one. The algorithms allowed add up a row's products in an order that is the same
// every time and knows nothing of other rows (no atomics; a split over the inputs is joined in a
// fixed order, in f32), so a row has the same bits whatever rows are beside it, and however many,
// inside a range. From one range to the next it may differ by the rounding of f32 sums. NVIDIA
// promises only equal bits for equal calls; the rest is how these algorithms work, and tests/gpu
// checks it on the chip.
#ifndef LONGLEAF_KERNELS_CUDA_CUBLAS_H_
#define LONGLEAF_KERNELS_CUDA_CUBLAS_H_

#include <cublasLt.h>

#include <compare>
#include <cstdint>
#include <map>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {

// What is multiplied: both operands are of this type, sums are f32.
enum class Operand : uint8_t { kF32, kBF16, kE4M3 };
constexpr int64_t SizeOf(Operand type) {
  return type == Operand::kF32 ? 4 : type == Operand::kBF16 ? 2 : 1;
}

// out[r, n] = sum over k of in[r, k] * weight[n, k], by the scales where there are any; += instead
// under `add`. All in device memory, row-major without gaps.
struct Product {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t depth = 0;
  Operand operand = Operand::kF32;
  const void* in = nullptr;      // [rows, depth]
  const void* weight = nullptr;  // [columns, depth]
  // Of kE4M3 alone, both or neither: f32, aligned to 16.
  const float* in_scales = nullptr;      // [rows]
  const float* weight_scales = nullptr;  // [columns]
  void* out = nullptr;                   // [rows, columns], f32 or bf16
  bool bf16_out = false;
  bool add = false;  // f32 out alone
};

// The largest row count of the range that `rows` >= 1 is in: 64, 128, 256 and so on.
constexpr int64_t RowRange(int64_t rows) {
  int64_t range = 64;
  while (range < rows) range *= 2;
  return range;
}

// For one thread at a time; products run in the order of the one stream that they are all put into
// (they share a workspace). Of the device that was current when it was made.
class Cublas {
 public:
  // RESOURCE_EXHAUSTED, UNAVAILABLE.
  static absl::StatusOr<std::unique_ptr<Cublas>> Create();
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  // Puts a product into `stream`. Allocates no device memory, so it may be recorded in a graph.
  // UNIMPLEMENTED: the library has no algorithm for this shape or these scales, and nothing was put
  // into the stream. INTERNAL when a call fails.
  absl::Status Multiply(const Product& product, cudaStream_t stream);

  int64_t workspace_bytes() const { return workspace_.bytes(); }

 private:
  struct Key {  // what the choice of an algorithm depends on
    int64_t rows, columns, depth;
    Operand operand;
    bool scaled, bf16_out, add;
    int alignment;  // of all pointers, in bytes, at most 256
    auto operator<=>(const Key&) const = default;
  };
  // An algorithm, or that there is none.
  struct Choice {
    bool found = false;
    cublasLtMatmulAlgo_t algorithm;
  };
  struct Call;  // the descriptors of one product

  explicit Cublas(DeviceMemory workspace) : workspace_(std::move(workspace)) {}
  // For exactly the product of `call`, whose row count may be any.
  absl::StatusOr<Choice> Ask(const Call& call, const Key& key) const;
  absl::StatusOr<Choice> Choose(const Product& product, const Call& call);

  cublasLtHandle_t handle_ = nullptr;
  const DeviceMemory workspace_;
  // By a range's largest row count: the choice for the range. A model has some ten shapes, and
  // there are some twenty ranges, so this stays small.
  std::map<Key, Choice> ranges_;
  // By the true row count: the range's choice where the library accepts it for that count, else one
  // of its own. Cleared when it has kMostCounts entries.
  std::map<Key, Choice> counts_;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_CUBLAS_H_
