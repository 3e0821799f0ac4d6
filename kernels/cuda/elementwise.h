// Operations on rows that only move and convert numbers: the norm before a product, the gate inside
// a feed-forward layer, gathering. Each reads its input once and writes its output once.
//
// A row's result depends on that row alone: never on how many rows there are, or where it stands.
// All functions enqueue and return; errors are those of the launch.
#ifndef LONGLEAF_KERNELS_CUDA_ELEMENTWISE_H_
#define LONGLEAF_KERNELS_CUDA_ELEMENTWISE_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace longleaf::kernels::cuda {

// The element types that products take and give.
enum class RowType { kF32, kBF16, kFP8 };

// Rows for a product to read, device memory, not owned. Rows follow one another without a gap;
// `data` is aligned to 16.
//   f32
//   bf16  to the nearest, ties to even (kernels/float_types.h)
//   fp8   as QuantiseFP8 has it (kernels/quantised.h), but that a row with a NaN or an infinity has
//         scale NaN
struct ProductRows {
  RowType type = RowType::kF32;
  void* data = nullptr;     // [rows, cols]
  float* scales = nullptr;  // [rows], of fp8 alone
};

// to = norm(in), or in itself where norm.weight is empty, converted. in [R, cols], norm.weight
// [1, cols].
absl::Status RmsNormRows(const Tensor& in, const RmsNorm& norm, const ProductRows& to,
                         cudaStream_t stream);

// to = silu(gate) * up, converted. `product` [rows, 2 * inner] is f32 or bf16, each row the gate
// and then up; to [rows, inner]. `to` may not be `product`.
absl::Status SiluGate(RowType product_type, const void* product, int64_t rows, int64_t inner,
                      const ProductRows& to, cudaStream_t stream);

// out[i] = in[indices[i]]; indices are in range (kernels/checks.h). in [n, cols], out
// [indices.size(), cols], not overlapping. The indices are in the launch itself: they may go away,
// and a recorded launch keeps them.
absl::Status GatherRows(const Tensor& in, absl::Span<const int64_t> indices, const Tensor& out,
                        cudaStream_t stream);

// to[i] = from[i] as f32. `type` is bf16 or f16; `from` is device memory. [count] both.
absl::Status Widen(DType type, const void* from, int64_t count, float* to, cudaStream_t stream);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ELEMENTWISE_H_
