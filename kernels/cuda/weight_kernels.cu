// Conversion and quantisation of weights, scales of fp8 products. Limited by memory, and used while
// a model is loaded or where the library lacks a mode: plain kernels.
#include "kernels/cuda/weight_kernels.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <algorithm>

#include "kernels/cuda/runtime.h"
#include "kernels/quantised.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int64_t kMostBlocks = 1 << 16;

__device__ inline float ToFloat(float x) { return x; }
__device__ inline float ToFloat(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float ToFloat(__half x) { return __half2float(x); }
__device__ inline void FromFloat(float x, float* to) { *to = x; }
__device__ inline void FromFloat(float x, __nv_bfloat16* to) { *to = __float2bfloat16_rn(x); }

template <typename From, typename To>
__global__ void __launch_bounds__(kThreads)
    ConvertKernel(const From* from, int64_t count, To* to) {  // both [count]
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    FromFloat(ToFloat(from[i]), to + i);
  }
}

// A block takes a row.
template <typename From>
__global__ void __launch_bounds__(kThreads) QuantiseKernel(const From* from,  // [gridDim.x, cols]
                                                           int64_t cols,
                                                           uint8_t* to,      // [gridDim.x, cols]
                                                           float* scales) {  // [gridDim.x]
  __shared__ float parts[kWarps];
  const int64_t row = blockIdx.x;
  const From* const x = from + row * cols;
  // fmaxf passes over NaN, so NaN counts as infinity here.
  float largest = 0;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) {
    const float size = fabsf(ToFloat(x[c]));
    largest = fmaxf(largest, size < INFINITY ? size : INFINITY);
  }
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, lanes));
  }
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = largest;
  __syncthreads();
  largest = parts[0];
  for (int warp = 1; warp < kWarps; ++warp) largest = fmaxf(largest, parts[warp]);

  const bool damaged = largest == INFINITY;
  const bool zero = damaged || largest < kSmallestGroup;
  const float inverse = zero ? 0 : 448.0f / largest;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) {
    to[row * cols + c] =
        zero ? uint8_t{0}
             : __nv_cvt_float_to_fp8(ToFloat(x[c]) * inverse, __NV_SATFINITE, __NV_E4M3);
  }
  if (threadIdx.x == 0) scales[row] = damaged ? NAN : zero ? 0 : largest / 448.0f;
}

// A row for each blockIdx.x, kThreads columns for each blockIdx.y.
template <typename Out, bool kAdd>
__global__ void __launch_bounds__(kThreads) ScaleKernel(ScaledSums p) {
  const int64_t row = blockIdx.x;
  const int64_t column = int64_t{blockIdx.y} * kThreads + threadIdx.x;
  if (column < p.columns) {
    const int64_t at = row * p.columns + column;
    const float value =
        __fmul_rn(p.sums[at], __fmul_rn(p.row_scales[row], p.column_scales[column]));
    Out* const out = static_cast<Out*>(p.out) + at;
    if constexpr (kAdd) {
      *out = __fadd_rn(*out, value);
    } else {
      FromFloat(value, out);
    }
  }
}

template <typename From>
absl::Status ConvertFrom(const void* from, int64_t count, void* to, DType to_type,
                         cudaStream_t stream) {
  const int64_t blocks = std::min((count + kThreads - 1) / kThreads, kMostBlocks);
  const dim3 grid(static_cast<unsigned>(blocks));
  const From* const source = static_cast<const From*>(from);
  if (to_type == DType::kBF16) {
    return Launch("converting weights", ConvertKernel<From, __nv_bfloat16>, grid, dim3(kThreads), 0,
                  stream, source, count, static_cast<__nv_bfloat16*>(to));
  }
  return Launch("converting weights", ConvertKernel<From, float>, grid, dim3(kThreads), 0, stream,
                source, count, static_cast<float*>(to));
}

template <typename From>
absl::Status QuantiseFrom(const void* from, int64_t rows, int64_t cols, uint8_t* to, float* scales,
                          cudaStream_t stream) {
  return Launch("quantising weights", QuantiseKernel<From>, dim3(static_cast<unsigned>(rows)),
                dim3(kThreads), 0, stream, static_cast<const From*>(from), cols, to, scales);
}

}  // namespace

absl::Status ConvertWeights(const void* from, DType from_type, int64_t count, void* to,
                            DType to_type, cudaStream_t stream) {
  switch (from_type) {
    case DType::kF32:
      return ConvertFrom<float>(from, count, to, to_type, stream);
    case DType::kBF16:
      return ConvertFrom<__nv_bfloat16>(from, count, to, to_type, stream);
    case DType::kF16:
      return ConvertFrom<__half>(from, count, to, to_type, stream);
    default:
      return absl::UnimplementedError("weights of this type");
  }
}

absl::Status QuantiseWeights(const void* from, DType from_type, int64_t rows, int64_t cols,
                             uint8_t* to, float* scales, cudaStream_t stream) {
  switch (from_type) {
    case DType::kF32:
      return QuantiseFrom<float>(from, rows, cols, to, scales, stream);
    case DType::kBF16:
      return QuantiseFrom<__nv_bfloat16>(from, rows, cols, to, scales, stream);
    case DType::kF16:
      return QuantiseFrom<__half>(from, rows, cols, to, scales, stream);
    default:
      return absl::UnimplementedError("weights of this type");
  }
}

absl::Status ScaleSums(const ScaledSums& p, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(p.rows),
                  static_cast<unsigned>((p.columns + kThreads - 1) / kThreads));
  const auto launch = [&](void (*kernel)(ScaledSums)) {
    return Launch("scaling a product", kernel, grid, dim3(kThreads), 0, stream, p);
  };
  if (p.bf16_out) return launch(ScaleKernel<__nv_bfloat16, false>);
  return p.add ? launch(ScaleKernel<float, true>) : launch(ScaleKernel<float, false>);
}

}  // namespace longleaf::kernels::cuda
