// Gathering and widening: rows that only move.
#include <algorithm>
#include <cstdint>

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {
namespace {

using absl::Status;

constexpr int kThreads = 256;

// Indices travel in a launch's arguments, of which there are 4 KB.
struct RowIndices {
  static constexpr size_t kMost = 256;
  int64_t at[kMost];
};

// A row for each blockIdx.x.
__global__ void __launch_bounds__(kThreads)
    GatherKernel(const float* in, int64_t cols, RowIndices indices, float* out) {
  const float* const from = in + indices.at[blockIdx.x] * cols;
  float* const to = out + int64_t{blockIdx.x} * cols;
  int64_t copied = 0;
  if (cols % 4 == 0) {
    for (int64_t i = threadIdx.x; i < cols / 4; i += kThreads) {
      reinterpret_cast<float4*>(to)[i] = reinterpret_cast<const float4*>(from)[i];
    }
    copied = cols;
  }
  // Unrolled, it would spill on sm_90a, for columns that are seldom there.
#pragma unroll 1
  for (int64_t i = copied + threadIdx.x; i < cols; i += kThreads) to[i] = from[i];
}

__device__ __forceinline__ float WidenBF16(uint32_t bits) { return __uint_as_float(bits << 16); }

// FloatFromF16 (kernels/float_types.h). The exponent of f16 in the place of that of f32 makes a
// number too small by 2^112, also where it is subnormal; infinities and NaN have none above them.
__device__ __forceinline__ float WidenF16(uint32_t bits) {
  const uint32_t sign = (bits & 0x8000u) << 16, rest = bits & 0x7fffu;
  if (rest >= 0x7c00u) {
    const uint32_t quiet = rest > 0x7c00u ? 0x400000u : 0;
    return __uint_as_float(sign | 0x7f800000u | quiet | (rest & 0x3ffu) << 13);
  }
  const float magnitude = __uint_as_float(rest << 13) * 0x1p112f;
  return __uint_as_float(sign | __float_as_uint(magnitude));
}

template <DType kType>
__device__ __forceinline__ float WidenOne(uint32_t bits) {
  return kType == DType::kBF16 ? WidenBF16(bits) : WidenF16(bits);
}

// Pieces of 8, then the rest one by one. `vector`: to is aligned to 16.
template <DType kType>
__global__ void __launch_bounds__(kThreads)
    WidenKernel(const uint16_t* from, int64_t count, bool vector, float* to) {
  const int64_t first = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t step = int64_t{gridDim.x} * kThreads;
  const int64_t pieces = vector ? count / 8 : 0;
#pragma unroll 1
  for (int64_t i = first; i < pieces; i += step) {
    const uint4 all = reinterpret_cast<const uint4*>(from)[i];
    const uint32_t words[4] = {all.x, all.y, all.z, all.w};
    float4* const out = reinterpret_cast<float4*>(to) + 2 * i;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t low = words[2 * half], high = words[2 * half + 1];
      out[half] = make_float4(WidenOne<kType>(low & 0xffffu), WidenOne<kType>(low >> 16),
                              WidenOne<kType>(high & 0xffffu), WidenOne<kType>(high >> 16));
    }
  }
  for (int64_t i = pieces * 8 + first; i < count; i += step) to[i] = WidenOne<kType>(from[i]);
}

}  // namespace

Status GatherRows(const Tensor& in, absl::Span<const int64_t> indices, const Tensor& out,
                  cudaStream_t stream) {
  for (size_t first = 0; first < indices.size(); first += RowIndices::kMost) {
    const size_t count = std::min(RowIndices::kMost, indices.size() - first);
    RowIndices some{};
    std::copy_n(indices.begin() + first, count, some.at);
    Status status =
        Launch("gathering rows", GatherKernel, dim3(static_cast<unsigned>(count)), dim3(kThreads),
               0, stream, in.data, in.cols, some, out.data + static_cast<int64_t>(first) * in.cols);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

Status Widen(DType type, const void* from, int64_t count, float* to, cudaStream_t stream) {
  const bool vector = reinterpret_cast<uintptr_t>(to) % 16 == 0;
  const int64_t blocks = std::min<int64_t>(4096, (count / (vector ? 8 : 1) + kThreads) / kThreads);
  const auto launch = [&](void (*kernel)(const uint16_t*, int64_t, bool, float*)) {
    return Launch("widening", kernel, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), 0,
                  stream, static_cast<const uint16_t*>(from), count, vector, to);
  };
  switch (type) {
    case DType::kBF16:
      return launch(WidenKernel<DType::kBF16>);
    case DType::kF16:
      return launch(WidenKernel<DType::kF16>);
    default:
      return absl::UnimplementedError("widening of this type");
  }
}

}  // namespace longleaf::kernels::cuda
