// Rows of a state on the device: the rules of kernels/state_rounding.h, bit for bit.
//
// A row is spread over the lanes of a warp, or of a power of two of them, in pieces of a few
// consecutive elements, each loaded and stored by one instruction.
#ifndef LONGLEAF_KERNELS_CUDA_STATE_ROW_H_
#define LONGLEAF_KERNELS_CUDA_STATE_ROW_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/state_rounding.h"

namespace longleaf::kernels::cuda {

// What one lane knows of the rounding of its row.
struct RowRounding {
  float scale = 1;    // as stored, of i8
  float inverse = 0;  // 127 / m, of i8; 0 where all elements are 0
};

// The magnitude of x as an integer that grows with it; NaN lies above all numbers.
__device__ __forceinline__ uint32_t MagnitudeBits(float x) {
  return __float_as_uint(x) & 0x7fffffffu;
}

// The rounding of a row to i8, given the largest MagnitudeBits of it.
__device__ __forceinline__ RowRounding RoundingOfI8(uint32_t largest_bits) {
  constexpr uint32_t kNaN = 0x7fc00000u;
  const float largest = __uint_as_float(largest_bits);
  if (!(largest < kLargestRow)) return {__uint_as_float(kNaN), 0};
  if (largest < kSmallestRow) return {0, 0};
  return {__fdiv_rn(largest, 127.0f), __fdiv_rn(127.0f, largest)};
}

// The element that x becomes; under an inverse of 0 x may be anything.
__device__ __forceinline__ uint32_t RoundToI8(float x, float inverse) {
  const int element = inverse == 0 ? 0 : __float2int_rn(__fmul_rn(x, inverse));
  return static_cast<uint32_t>(element) & 0xffu;
}

// BF16FromFloat (kernels/float_types.h).
__device__ __forceinline__ uint32_t RoundToBF16(float x) {
  const uint32_t bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (bits >> 16) | 0x40;
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

constexpr int ElementBytes(DType type) {
  return type == DType::kI8 ? 1 : type == DType::kBF16 ? 2 : 4;
}

// kCount consecutive elements of a stored row, as they lie there: 1, 2, 4, 8 or 16 bytes, aligned
// to their size.
template <DType kType, int kCount>
struct Piece {
  static constexpr int kBytes = kCount * ElementBytes(kType);
  static_assert(kBytes == 1 || kBytes == 2 || kBytes == 4 || kBytes == 8 || kBytes == 16);
  static constexpr int kWords = kBytes < 4 ? 1 : kBytes / 4;

  uint32_t words[kWords];

  __device__ __forceinline__ void Load(const std::byte* from) {
    if constexpr (kBytes == 16) {
      const uint4 all = *reinterpret_cast<const uint4*>(from);
      words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
    } else if constexpr (kBytes == 8) {
      const uint2 all = *reinterpret_cast<const uint2*>(from);
      words[0] = all.x, words[1] = all.y;
    } else if constexpr (kBytes == 4) {
      words[0] = *reinterpret_cast<const uint32_t*>(from);
    } else if constexpr (kBytes == 2) {
      words[0] = *reinterpret_cast<const uint16_t*>(from);
    } else {
      words[0] = *reinterpret_cast<const uint8_t*>(from);
    }
  }
  __device__ __forceinline__ void Store(std::byte* to) const {
    if constexpr (kBytes == 16) {
      *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
    } else if constexpr (kBytes == 8) {
      *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
    } else if constexpr (kBytes == 4) {
      *reinterpret_cast<uint32_t*>(to) = words[0];
    } else if constexpr (kBytes == 2) {
      *reinterpret_cast<uint16_t*>(to) = static_cast<uint16_t>(words[0]);
    } else {
      *reinterpret_cast<uint8_t*>(to) = static_cast<uint8_t>(words[0]);
    }
  }

  __device__ __forceinline__ void Round(const float (&x)[kCount], RowRounding rounding) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) words[w] = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if constexpr (kType == DType::kF32) {
        words[i] = __float_as_uint(x[i]);
      } else if constexpr (kType == DType::kBF16) {
        words[i / 2] |= RoundToBF16(x[i]) << (16 * (i % 2));
      } else {
        words[i / 4] |= RoundToI8(x[i], rounding.inverse) << (8 * (i % 4));
      }
    }
  }
  // What the elements stand for.
  __device__ __forceinline__ void Read(float scale, float (&x)[kCount]) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      if constexpr (kType == DType::kF32) {
        x[i] = __uint_as_float(words[i]);
      } else if constexpr (kType == DType::kBF16) {
        const uint32_t word = words[i / 2];
        x[i] = __uint_as_float(i % 2 == 0 ? word << 16 : word & 0xffff0000u);
      } else {
        const auto element = static_cast<int8_t>(words[i / 4] >> (8 * (i % 4)) & 0xffu);
        x[i] = __fmul_rn(static_cast<float>(element), scale);
      }
    }
  }
};

// Warp: the rounding of a row that lies in the pieces of `lanes` neighbouring lanes, a power of
// two; unused elements are 0. Every lane of those gets the answer.
template <DType kType, int kCount>
__device__ __forceinline__ RowRounding RoundingOf(const float (&x)[kCount], int lanes) {
  if constexpr (kType != DType::kI8) {
    return {};
  } else {
    uint32_t largest = 0;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const uint32_t bits = MagnitudeBits(x[i]);
      largest = bits > largest ? bits : largest;
    }
    for (int step = lanes / 2; step > 0; step /= 2) {
      const uint32_t other = __shfl_xor_sync(0xffffffffu, largest, step);
      largest = other > largest ? other : largest;
    }
    return RoundingOfI8(largest);
  }
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_STATE_ROW_H_
