// Vectors of f32 for the training kernels: as wide as the processor has them
// (AVX-512, else AVX2), loaded from and stored to f32 or bf16.
#ifndef LONGLEAF_MODEL_DEMO_TRAINING_VECTOR_H_
#define LONGLEAF_MODEL_DEMO_TRAINING_VECTOR_H_

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define LONGLEAF_TRAINING_AVX512 1
inline constexpr int kLanes = 16;
#else
inline constexpr int kLanes = 8;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));

// A bf16 as it lies in memory: the upper half of an f32.
struct Bf16 {
  uint16_t bits;
};

inline Vec All(float x) { return x - Vec{}; }
inline IntVec AllInt(int32_t x) { return x - IntVec{}; }
inline Vec Max(Vec a, Vec b) { return a > b ? a : b; }

inline Vec Load(const float* p) {
  Vec x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
inline IntVec Load(const int32_t* p) {
  IntVec x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
inline void Store(float* p, Vec x) { std::memcpy(p, &x, sizeof(x)); }

#ifdef LONGLEAF_TRAINING_AVX512
inline Vec Load(const Bf16* p) {
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return (Vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}
inline IntVec Nearest(Vec x) { return (IntVec)_mm512_cvtps_epi32((__m512)x); }
inline float Sum(Vec x) { return _mm512_reduce_add_ps((__m512)x); }
inline float Largest(Vec x) { return _mm512_reduce_max_ps((__m512)x); }
inline void Store(Bf16* p, Vec x) {  // rounds to the nearest, ties to even
  const __m512i bits = (__m512i)x;
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}
#else
inline Vec Load(const Bf16* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return (Vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
}
inline IntVec Nearest(Vec x) { return (IntVec)_mm256_cvtps_epi32((__m256)x); }
inline float Sum(Vec x) {
  float sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += x[i];
  return sum;
}
inline float Largest(Vec x) {
  float largest = x[0];
  for (int i = 1; i < kLanes; ++i) largest = largest > x[i] ? largest : x[i];
  return largest;
}
inline void Store(Bf16* p, Vec x) {  // rounds to the nearest, ties to even
  const IntVec bits = (IntVec)x;
  const IntVec rounded = bits + 0x7fff + ((bits >> 16) & 1);
  for (int i = 0; i < kLanes; ++i) p[i].bits = static_cast<uint16_t>(rounded[i] >> 16);
}
#endif

// The last few values of a row: `count` below kLanes; the other lanes are
// `fill`, or not stored.
template <typename T>
inline Vec LoadFew(const T* p, int64_t count, float fill) {
  T values[kLanes] = {};
  std::memcpy(values, p, count * sizeof(T));
  Vec x = Load(values);
  for (int64_t i = count; i < kLanes; ++i) x[i] = fill;
  return x;
}
template <typename T>
inline void StoreFew(T* p, Vec x, int64_t count) {
  T values[kLanes];
  Store(values, x);
  std::memcpy(p, values, count * sizeof(T));
}

// 2^x to about 1e-7 of it, for x <= 126; 2^-100 for anything smaller than -100.
inline Vec Exp2(Vec x) {
  x = Max(x, All(-100.0f));
  const IntVec whole = Nearest(x);
  const Vec rest = x - __builtin_convertvector(whole, Vec);
  Vec y = All(0.00132764725f);
  y = y * rest + 0.00967554189f;
  y = y * rest + 0.0555071309f;
  y = y * rest + 0.240221202f;
  y = y * rest + 0.693146944f;
  y = y * rest + 1.0f;
  return (Vec)((IntVec)y + (whole << 23));
}

// out[column][row] = in[row][column]: kRows x kColumns floats, both packed,
// multiples of kLanes.
template <int kRows, int kColumns>
inline void Transpose(const float* in, float* out) {
  for (int row = 0; row < kRows; row += kLanes) {
    for (int column = 0; column < kColumns; column += kLanes) {
      Vec x[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) x[i] = Load(in + (row + i) * kColumns + column);
#pragma GCC unroll 4
      for (int step = 1; step < kLanes; step *= 2) {
        IntVec low,
            high;  // which lanes of a pair of vectors make its two new ones
        for (int i = 0; i < kLanes; ++i) {
          low[i] = (i & step) == 0 ? i : kLanes + i - step;
          high[i] = (i & step) == 0 ? i + step : kLanes + i;
        }
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
          if ((i & step) != 0) continue;
          const Vec a = x[i], b = x[i + step];
          x[i] = __builtin_shuffle(a, b, low);
          x[i + step] = __builtin_shuffle(a, b, high);
        }
      }
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) Store(out + (column + i) * kRows + row, x[i]);
    }
  }
}

#endif  // LONGLEAF_MODEL_DEMO_TRAINING_VECTOR_H_
