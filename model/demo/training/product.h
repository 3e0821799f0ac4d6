// Products of small matrices, the inner loops of attention. Factors lie in
// units of 32 bits: one f32, or two bf16 that are neighbours along the
// dimension that is summed over, which AVX512_BF16 multiplies at twice the
// speed. Sums are f32. A matrix of units is a float array, never read as floats
// where it holds pairs.
#ifndef LONGLEAF_MODEL_DEMO_TRAINING_PRODUCT_H_
#define LONGLEAF_MODEL_DEMO_TRAINING_PRODUCT_H_

#include "vector.h"

inline Vec Broadcast(const float* unit) {
  int32_t bits;
  std::memcpy(&bits, unit, sizeof(bits));
  return (Vec)AllInt(bits);
}

// Units of one f32.
struct Single {
  static constexpr int kPack = 1;
  static Vec MultiplyAdd(Vec a, Vec b, Vec sum) { return sum + a * b; }
  // Neighbours along a vector.
  static void PutAlong(float* units, Vec x) { Store(units, x); }
  static Vec GetAlong(const float* units) { return Load(units); }
  // Neighbours are a (of an even row) and b (of the next); the rows have
  // `stride` units.
  static void PutAcross(float* units, int64_t stride, Vec a, Vec b) {
    Store(units, a);
    Store(units + stride, b);
  }
};

#ifdef __AVX512BF16__
// Units of two bf16.
struct Pair {
  static constexpr int kPack = 2;
  static Vec MultiplyAdd(Vec a, Vec b, Vec sum) {
    return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
  }
  static void PutAlong(float* units, Vec x) {
    const __m256bh bits = _mm512_cvtneps_pbh((__m512)x);
    std::memcpy(units, &bits, sizeof(bits));
  }
  static Vec GetAlong(const float* units) { return Load(reinterpret_cast<const Bf16*>(units)); }
  static void PutAcross(float* units, int64_t /*stride*/, Vec a, Vec b) {
    const IntVec low = ((IntVec)a + 0x8000) >> 16, high = (IntVec)b + 0x8000;
    Store(units, (Vec)((low & 0xffff) | (high & ~0xffff)));
  }
};
#else
using Pair = Single;
#endif

// A product tile is kTileRows x two vectors, so that its sums stay in
// registers.
inline constexpr int kTileRows = kLanes == 16 ? 8 : 4;
inline constexpr int kTileColumns = 2 * kLanes;

// c (+)= a b for `rows` (a multiple of 8) rows and kColumns columns of c,
// summing over `depth` units: unit (m, k) of a is a[m * kRowStride + k *
// kDepthStride]; b and c have kColumns columns, packed.
template <typename Unit, int kRowStride, int kDepthStride, int kColumns, bool kAdd>
inline void Product(int64_t rows, int64_t depth, const float* a, const float* b, float* c) {
  for (int64_t row = 0; row < rows; row += kTileRows) {
    for (int column = 0; column < kColumns; column += kTileColumns) {
      Vec sum[kTileRows][2];
      float* out = c + row * kColumns + column;
#pragma GCC unroll 8
      for (int i = 0; i < kTileRows; ++i) {
        sum[i][0] = kAdd ? Load(out + i * kColumns) : Vec{};
        sum[i][1] = kAdd ? Load(out + i * kColumns + kLanes) : Vec{};
      }
      const float* left = a + row * kRowStride;
      const float* right = b + column;
#pragma GCC unroll 2
      for (int64_t k = 0; k < depth; ++k) {
        const Vec first = Load(right), second = Load(right + kLanes);
#pragma GCC unroll 8
        for (int i = 0; i < kTileRows; ++i) {
          const Vec x = Broadcast(left + i * kRowStride);
          sum[i][0] = Unit::MultiplyAdd(x, first, sum[i][0]);
          sum[i][1] = Unit::MultiplyAdd(x, second, sum[i][1]);
        }
        left += kDepthStride;
        right += kColumns;
      }
#pragma GCC unroll 8
      for (int i = 0; i < kTileRows; ++i) {
        Store(out + i * kColumns, sum[i][0]);
        Store(out + i * kColumns + kLanes, sum[i][1]);
      }
    }
  }
}

#endif  // LONGLEAF_MODEL_DEMO_TRAINING_PRODUCT_H_
