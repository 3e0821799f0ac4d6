// Conversion and quantisation of weights, scales of fp8 products. Limited by memory, and used while
// a model is loaded or where the library lacks a mode: plain kernels.
#include "kernels/cuda/weight_kernels.h"

#include <cuda_fp8.h>

#include <algorithm>
#include <limits>

#include "kernels/cuda/row_reduce.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/state_row.h"
#include "kernels/quantised.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 16;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// 16-bit numbers as their bits.
struct BF16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

__device__ __forceinline__ float ToFloat(float x) { return x; }
__device__ __forceinline__ float ToFloat(BF16 x) {
  return __uint_as_float(static_cast<uint32_t>(x.bits) << 16);
}
__device__ __forceinline__ float ToFloat(F16 x) {
  const uint32_t sign = (x.bits & 0x8000u) << 16, magnitude = (x.bits & 0x7fffu) << 13;
  // The exponent's bias is 112 less; an exponent of all ones stays one.
  const float value = __fmul_rn(__uint_as_float(magnitude), 0x1p112f);
  const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u | magnitude : 0;
  return __uint_as_float(sign | (special != 0 ? special : __float_as_uint(value)));
}
__device__ __forceinline__ void FromFloat(float x, float* to) { *to = x; }
__device__ __forceinline__ void FromFloat(float x, BF16* to) {
  to->bits = static_cast<uint16_t>(RoundToBF16(x));
}

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
  __shared__ float parts[32];
  const int64_t row = blockIdx.x;
  const From* const x = from + row * cols;
  // fmaxf passes over NaN, so NaN counts as infinity here.
  float largest = 0;
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) {
    const float size = fabsf(ToFloat(x[c]));
    largest = fmaxf(largest, size < kInfinity ? size : kInfinity);
  }
  largest = BlockReduce(largest, Most(), parts);
  const bool damaged = largest == kInfinity;
  const bool zero = damaged || largest < kSmallestGroup;
  const float inverse = zero ? 0 : __fdiv_rn(448.0f, largest);
  for (int64_t c = threadIdx.x; c < cols; c += kThreads) {
    to[row * cols + c] =
        zero ? uint8_t{0}
             : __nv_cvt_float_to_fp8(__fmul_rn(ToFloat(x[c]), inverse), __NV_SATFINITE, __NV_E4M3);
  }
  if (threadIdx.x == 0)
    scales[row] = damaged ? std::numeric_limits<float>::quiet_NaN()
                  : zero  ? 0
                          : __fdiv_rn(largest, 448.0f);
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
    return Launch("converting weights", ConvertKernel<From, BF16>, grid, dim3(kThreads), 0, stream,
                  source, count, static_cast<BF16*>(to));
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
      return ConvertFrom<BF16>(from, count, to, to_type, stream);
    case DType::kF16:
      return ConvertFrom<F16>(from, count, to, to_type, stream);
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
      return QuantiseFrom<BF16>(from, rows, cols, to, scales, stream);
    case DType::kF16:
      return QuantiseFrom<F16>(from, rows, cols, to, scales, stream);
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
  if (p.bf16_out) return launch(ScaleKernel<BF16, false>);
  return p.add ? launch(ScaleKernel<float, true>) : launch(ScaleKernel<float, false>);
}

}  // namespace longleaf::kernels::cuda
