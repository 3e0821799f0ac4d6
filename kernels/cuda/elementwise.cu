// Rows on their way into a product. A block takes a row and holds it in registers where it can: the
// norm and the scale of fp8 need all of it before the first number can be written.
#include "kernels/cuda/elementwise.h"

#include <cuda_fp8.h>

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/row_reduce.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/state_row.h"
#include "kernels/quantised.h"

namespace longleaf::kernels::cuda {
namespace {

using absl::Status;

constexpr int kMostThreads = 512;
constexpr int kWidth = 4;       // numbers of a piece: 16 bytes of f32
constexpr int kMostPieces = 8;  // of a thread

// ---- Where rows come from ----------------------------------------------------------------------

__device__ __forceinline__ void LoadPiece(const float* from, float (&x)[kWidth]) {
  const float4 all = *reinterpret_cast<const float4*>(from);
  x[0] = all.x, x[1] = all.y, x[2] = all.z, x[3] = all.w;
}
using BF16 = uint16_t;  // as bits
__device__ __forceinline__ float WidenBF16(BF16 bits) {
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}
__device__ __forceinline__ void LoadPiece(const BF16* from, float (&x)[kWidth]) {
  Piece<DType::kBF16, kWidth> piece;
  piece.Load(reinterpret_cast<const std::byte*>(from));
  piece.Read(1, x);
}
__device__ __forceinline__ float LoadOne(const float* from) { return *from; }
__device__ __forceinline__ float LoadOne(const BF16* from) { return WidenBF16(*from); }

struct PlainSource {
  static constexpr bool kNorm = false;
  const float* in;  // [R, cols]
  int64_t cols;

  __device__ __forceinline__ void Load(int64_t row, int64_t at, float (&x)[kWidth]) const {
    LoadPiece(in + row * cols + at, x);
  }
  __device__ __forceinline__ float Load(int64_t row, int64_t at) const {
    return in[row * cols + at];
  }
};

struct NormSource : PlainSource {
  static constexpr bool kNorm = true;
  const float* weight;  // [cols]
  float epsilon;

  __device__ __forceinline__ float Factor(float squares) const {
    return 1.0f / sqrtf(squares / static_cast<float>(cols) + epsilon);
  }
};

template <typename T>
struct GateSource {
  static constexpr bool kNorm = false;
  const T* product;  // [R, 2, cols]: gate, up
  int64_t cols;

  __device__ __forceinline__ static float Gated(float gate, float up) {
    return gate / (1.0f + expf(-gate)) * up;
  }
  __device__ __forceinline__ void Load(int64_t row, int64_t at, float (&x)[kWidth]) const {
    float up[kWidth];
    LoadPiece(product + row * 2 * cols + at, x);
    LoadPiece(product + row * 2 * cols + cols + at, up);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) x[i] = Gated(x[i], up[i]);
  }
  __device__ __forceinline__ float Load(int64_t row, int64_t at) const {
    const T* const gate = product + row * 2 * cols + at;
    return Gated(LoadOne(gate), LoadOne(gate + cols));
  }
};

// ---- Where they go -----------------------------------------------------------------------------

// The rounding of a row to fp8, given the largest MagnitudeBits of it.
struct FP8Rounding {
  float scale = 0;
  float inverse = 0;
};
__device__ __forceinline__ FP8Rounding RoundingOfFP8(uint32_t largest_bits) {
  constexpr uint32_t kInfinity = 0x7f800000u, kNaN = 0x7fc00000u;
  if (largest_bits >= kInfinity) return {__uint_as_float(kNaN), 0};
  const float largest = __uint_as_float(largest_bits);
  if (largest < kSmallestGroup) return {0, 0};
  return {__fdiv_rn(largest, 448.0f), __fdiv_rn(448.0f, largest)};
}
__device__ __forceinline__ uint32_t RoundToFP8(float x, float inverse) {
  const float scaled = inverse == 0 ? 0.0f : __fmul_rn(x, inverse);
  return __nv_cvt_float_to_fp8(scaled, __NV_SATFINITE, __NV_E4M3);
}

template <RowType kOut>
__device__ __forceinline__ void StorePiece(void* to, int64_t at, const float (&x)[kWidth],
                                           float inverse) {
  if constexpr (kOut == RowType::kF32) {
    *reinterpret_cast<float4*>(static_cast<float*>(to) + at) = make_float4(x[0], x[1], x[2], x[3]);
  } else if constexpr (kOut == RowType::kBF16) {
    Piece<DType::kBF16, kWidth> piece;
    piece.Round(x, {});
    piece.Store(static_cast<std::byte*>(to) + 2 * at);
  } else {
    uint32_t all = 0;
#pragma unroll
    for (int i = 0; i < kWidth; ++i) all |= RoundToFP8(x[i], inverse) << (8 * i);
    *reinterpret_cast<uint32_t*>(static_cast<std::byte*>(to) + at) = all;
  }
}
template <RowType kOut>
__device__ __forceinline__ void StoreOne(void* to, int64_t at, float x, float inverse) {
  if constexpr (kOut == RowType::kF32) {
    static_cast<float*>(to)[at] = x;
  } else if constexpr (kOut == RowType::kBF16) {
    static_cast<BF16*>(to)[at] = static_cast<BF16>(RoundToBF16(x));
  } else {
    static_cast<uint8_t*>(to)[at] = static_cast<uint8_t>(RoundToFP8(x, inverse));
  }
}

// ---- Kernels: a row for each block -------------------------------------------------------------

// cols a multiple of kWidth, up to kPieces * kWidth * blockDim.x.
template <typename Source, RowType kOut, int kPieces>
__global__ void __launch_bounds__(kMostThreads, 1) RowKernel(Source source, ProductRows to) {
  __shared__ float sums[32];
  __shared__ uint32_t magnitudes[32];
  const int64_t row = blockIdx.x;
  float x[kPieces][kWidth];
  const auto at = [](int j) { return (int64_t{threadIdx.x} + j * int64_t{blockDim.x}) * kWidth; };
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
#pragma unroll
    for (float& value : x[j]) value = 0;
    if (at(j) < source.cols) source.Load(row, at(j), x[j]);
  }
  if constexpr (Source::kNorm) {
    float squares = 0;
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
#pragma unroll
      for (const float value : x[j]) squares += value * value;
    }
    const float factor = source.Factor(BlockReduce(squares, Add(), sums));
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      if (at(j) >= source.cols) continue;
      float weight[kWidth];
      LoadPiece(source.weight + at(j), weight);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) x[j][i] = x[j][i] * factor * weight[i];
    }
  }
  FP8Rounding rounding;
  if constexpr (kOut == RowType::kFP8) {
    uint32_t largest = 0;
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
#pragma unroll
      for (const float value : x[j]) largest = Most()(largest, MagnitudeBits(value));
    }
    rounding = RoundingOfFP8(BlockReduce(largest, Most(), magnitudes));
    if (threadIdx.x == 0) to.scales[row] = rounding.scale;
  }
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    if (at(j) < source.cols) {
      StorePiece<kOut>(to.data, row * source.cols + at(j), x[j], rounding.inverse);
    }
  }
}

// Any cols: numbers one by one, computed again each time they are needed.
template <typename Source, RowType kOut>
__global__ void __launch_bounds__(kMostThreads) AnyRowKernel(Source source, ProductRows to) {
  __shared__ float sums[32];
  __shared__ uint32_t magnitudes[32];
  const int64_t row = blockIdx.x;
  float factor = 1;
  if constexpr (Source::kNorm) {
    float squares = 0;
    for (int64_t c = threadIdx.x; c < source.cols; c += blockDim.x) {
      const float value = source.Load(row, c);
      squares += value * value;
    }
    factor = source.Factor(BlockReduce(squares, Add(), sums));
  }
  const auto value = [&](int64_t c) {
    if constexpr (Source::kNorm) {
      return source.Load(row, c) * factor * source.weight[c];
    } else {
      return source.Load(row, c);
    }
  };
  FP8Rounding rounding;
  if constexpr (kOut == RowType::kFP8) {
    uint32_t largest = 0;
    for (int64_t c = threadIdx.x; c < source.cols; c += blockDim.x) {
      largest = Most()(largest, MagnitudeBits(value(c)));
    }
    rounding = RoundingOfFP8(BlockReduce(largest, Most(), magnitudes));
    if (threadIdx.x == 0) to.scales[row] = rounding.scale;
  }
  for (int64_t c = threadIdx.x; c < source.cols; c += blockDim.x) {
    StoreOne<kOut>(to.data, row * source.cols + c, value(c), rounding.inverse);
  }
}

template <typename Source, RowType kOut>
Status LaunchRows(absl::string_view what, const Source& source, int64_t rows, const ProductRows& to,
                  cudaStream_t stream) {
  const bool whole = source.cols % kWidth == 0;
  const int64_t pieces = whole ? source.cols / kWidth : source.cols;
  const int64_t threads = std::min<int64_t>(kMostThreads, (pieces + 31) / 32 * 32);
  const int64_t each = (pieces + threads - 1) / threads;
  const dim3 grid(static_cast<unsigned>(rows)), block(static_cast<unsigned>(threads));
  const auto launch = [&](void (*kernel)(Source, ProductRows)) {
    return Launch(what, kernel, grid, block, 0, stream, source, to);
  };
  if (!whole || each > kMostPieces) return launch(AnyRowKernel<Source, kOut>);
  if (each == 1) return launch(RowKernel<Source, kOut, 1>);
  if (each <= 2) return launch(RowKernel<Source, kOut, 2>);
  if (each <= 4) return launch(RowKernel<Source, kOut, 4>);
  return launch(RowKernel<Source, kOut, kMostPieces>);
}

template <typename Source>
Status ConvertRows(absl::string_view what, const Source& source, int64_t rows,
                   const ProductRows& to, cudaStream_t stream) {
  switch (to.type) {
    case RowType::kF32:
      return LaunchRows<Source, RowType::kF32>(what, source, rows, to, stream);
    case RowType::kBF16:
      return LaunchRows<Source, RowType::kBF16>(what, source, rows, to, stream);
    default:
      return LaunchRows<Source, RowType::kFP8>(what, source, rows, to, stream);
  }
}

}  // namespace

Status RmsNormRows(const Tensor& in, const RmsNorm& norm, const ProductRows& to,
                   cudaStream_t stream) {
  const PlainSource plain{in.data, in.cols};
  if (norm.weight.data == nullptr) {
    return ConvertRows("converting rows", plain, in.rows, to, stream);
  }
  const NormSource source{plain, norm.weight.data, norm.epsilon};
  return ConvertRows("norm", source, in.rows, to, stream);
}

Status SiluGate(RowType product_type, const void* product, int64_t rows, int64_t inner,
                const ProductRows& to, cudaStream_t stream) {
  if (product_type == RowType::kBF16) {
    const GateSource<BF16> source{static_cast<const BF16*>(product), inner};
    return ConvertRows("gate", source, rows, to, stream);
  }
  const GateSource<float> source{static_cast<const float*>(product), inner};
  return ConvertRows("gate", source, rows, to, stream);
}

}  // namespace longleaf::kernels::cuda
