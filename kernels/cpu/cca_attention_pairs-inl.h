// Attention over one key tile with AVX512-BF16: the same loops as cca_attention_tile-inl.h and the
// same softmax as cca_attention_softmax-inl.h, with queries and weights rounded to bf16 and
// products of pairs, two multiply-adds a lane. Sums are f32.
//
// Highway has no target for these instructions yet: the functions here carry it themselves, and
// cca_attention_numbers-inl.h calls them only where the processor has it.
#if defined(LONGLEAF_KERNELS_CPU_CCA_ATTENTION_PAIRS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_PAIRS_INL_H_
#undef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_PAIRS_INL_H_
#else
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_PAIRS_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_block.h"
#include "kernels/cpu/cca_attention_softmax-inl.h"
#include "kernels/cpu/cca_attention_tile-inl.h"

#undef LONGLEAF_PAIRS
#if HWY_TARGET == HWY_AVX3 && HWY_COMPILER_CLANG
#define LONGLEAF_PAIRS 1
#else
#define LONGLEAF_PAIRS 0
#endif

#if LONGLEAF_PAIRS

#include <immintrin.h>

#undef LONGLEAF_PAIRS_ATTR
#define LONGLEAF_PAIRS_ATTR __attribute__((target(HWY_TARGET_STR ",avx512bf16")))
#undef LONGLEAF_PAIRS_INLINE
#define LONGLEAF_PAIRS_INLINE LONGLEAF_PAIRS_ATTR inline __attribute__((always_inline))

namespace longleaf::kernels {
namespace HWY_NAMESPACE {

// Two bf16 numbers side by side, the first in the low half.
using Pair = uint32_t;

// 4 rows by 4 vectors reach the peak rate; more rows cost registers that the broadcasts need.
inline constexpr int64_t kPairRows = 4;
inline constexpr int64_t kPairsOfKeys = kPageTokens / 2;

LONGLEAF_PAIRS_INLINE __m512 DotPairs(__m512 sum, __m512i a, __m512i b) {
  return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

// to[i] = from[i] * scale, rounded to bf16; `d` is even.
LONGLEAF_PAIRS_ATTR inline void RoundQuery(const float* from, int64_t d, float scale, Pair* to) {
  auto* numbers = reinterpret_cast<uint16_t*>(to);
  for (int64_t i = 0; i < d; i += 16) {
    const auto mask = static_cast<__mmask16>(d - i >= 16 ? 0xffff : (1u << (d - i)) - 1);
    const __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, from + i), _mm512_set1_ps(scale));
    _mm256_mask_storeu_epi16(numbers + i, mask, (__m256i)_mm512_cvtneps_pbh(x));
  }
}

// s[r, j] = sum over pairs of q[r, .] * k[., j], for R rows and NV vectors of keys.
template <int R, int NV>
LONGLEAF_PAIRS_INLINE void ScorePairs(const Pair* HWY_RESTRICT q,  // [R, pairs]
                                      int64_t pairs,
                                      const Pair* HWY_RESTRICT k,  // [pairs, kPageTokens]
                                      Ahead& to_ask,
                                      float* HWY_RESTRICT s) {  // [R, kPageTokens], like k
  __m512 sum[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) sum[r][v] = _mm512_setzero_ps();
  }
  Ahead ahead = to_ask;
  int64_t due = ahead.first();
  for (int64_t i = 0; i < pairs; ++i, k += kPageTokens) {
    __m512i key[NV];
    for (int v = 0; v < NV; ++v) key[v] = _mm512_loadu_si512(k + v * 16);
    Ask<NV>(ahead, due);
    for (int r = 0; r < R; ++r) {
      const __m512i query = _mm512_set1_epi32(static_cast<int>(q[r * pairs + i]));
      for (int v = 0; v < NV; ++v) sum[r][v] = DotPairs(sum[r][v], query, key[v]);
    }
  }
  to_ask = ahead;
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) _mm512_storeu_ps(s + r * kPageTokens + v * 16, sum[r][v]);
  }
}

// One pair of keys: sum[r, c] += w[r] * v[c], both halves. `columns`: of a last, partial vector;
// `halves`: 0 where a number must not be looked at, for it may never have been written.
template <int R, int NV, bool kPartial>
LONGLEAF_PAIRS_INLINE void AddPair(const Pair* HWY_RESTRICT w,  // at the pair; rows kPairsOfKeys
                                   const Pair* HWY_RESTRICT v, __mmask16 columns, __m512i halves,
                                   __m512 (&sum)[R][NV]) {
  __m512i value[NV];
  for (int c = 0; c < NV; ++c) {
    value[c] = kPartial ? _mm512_maskz_loadu_epi32(columns, v) : _mm512_loadu_si512(v + c * 16);
    value[c] = _mm512_and_si512(value[c], halves);
  }
  for (int r = 0; r < R; ++r) {
    const __m512i weight = _mm512_set1_epi32(static_cast<int>(w[r * kPairsOfKeys]));
    for (int c = 0; c < NV; ++c) sum[r][c] = DotPairs(sum[r][c], weight, value[c]);
  }
}

// o[r, c] += sum_j w[r, j] * v[j, c], for R rows, NV vectors of columns, keys j0 .. j1-1.
template <int R, int NV, bool kPartial>
LONGLEAF_PAIRS_INLINE void ValuePairs(const Pair* HWY_RESTRICT w,  // [R, kPairsOfKeys]
                                      int64_t j0, int64_t j1,
                                      const Pair* HWY_RESTRICT v,  // [kPairsOfKeys, d], at a column
                                      int64_t d, __mmask16 columns, Ahead& to_ask,
                                      float* HWY_RESTRICT o,  // [R, padded d], like v
                                      int64_t o_stride) {
  __m512 sum[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < NV; ++c) sum[r][c] = _mm512_load_ps(o + r * o_stride + c * 16);
  }
  int64_t pair = j0 / 2;
  if (j0 % 2 != 0) {
    AddPair<R, NV, kPartial>(w + pair, v + pair * d, columns,
                             _mm512_set1_epi32(static_cast<int>(0xffff0000u)), sum);
    ++pair;
  }
  Ahead ahead = to_ask;
  int64_t due = ahead.first();
  for (; pair < j1 / 2; ++pair) {
    Ask<NV>(ahead, due);
    AddPair<R, NV, kPartial>(w + pair, v + pair * d, columns, _mm512_set1_epi32(-1), sum);
  }
  to_ask = ahead;
  if (pair * 2 < j1) {
    AddPair<R, NV, kPartial>(w + pair, v + pair * d, columns, _mm512_set1_epi32(0xffff), sum);
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < NV; ++c) _mm512_store_ps(o + r * o_stride + c * 16, sum[r][c]);
  }
}

// Keys j0 .. j1 - 1 of the tile for R rows, widened to whole vectors.
template <int R>
LONGLEAF_PAIRS_ATTR HWY_NOINLINE void ScorePairRows(const Pair* q, int64_t pairs, const Pair* k,
                                                    Ahead& ahead, int64_t j0, int64_t j1,
                                                    float* s) {
  int64_t j = j0 / 16 * 16;
  for (; j + 48 < j1; j += 64) ScorePairs<R, 4>(q, pairs, k + j, ahead, s + j);
  for (; j + 16 < j1; j += 32) ScorePairs<R, 2>(q, pairs, k + j, ahead, s + j);
  for (; j < j1; j += 16) ScorePairs<R, 1>(q, pairs, k + j, ahead, s + j);
}

template <int R>
LONGLEAF_PAIRS_ATTR HWY_NOINLINE void ValuePairRows(const Pair* w, int64_t j0, int64_t j1,
                                                    const Pair* v, int64_t d, Ahead& ahead,
                                                    float* o, int64_t o_stride) {
  int64_t c = 0;
  for (; c + 64 <= d; c += 64) {
    ValuePairs<R, 4, false>(w, j0, j1, v + c, d, 0, ahead, o + c, o_stride);
  }
  for (; c + 32 <= d; c += 32) {
    ValuePairs<R, 2, false>(w, j0, j1, v + c, d, 0, ahead, o + c, o_stride);
  }
  for (; c + 16 <= d; c += 16) {
    ValuePairs<R, 1, false>(w, j0, j1, v + c, d, 0, ahead, o + c, o_stride);
  }
  if (c == d) return;
  const auto columns = static_cast<__mmask16>((1u << (d - c)) - 1);
  ValuePairs<R, 1, true>(w, j0, j1, v + c, d, columns, ahead, o + c, o_stride);
}

// Rounds 32 weights of a row to bf16, and returns `sum` with the rounded ones added: the weights as
// used add up to one.
LONGLEAF_PAIRS_INLINE __m512 RoundWeights(__m512 first, __m512 second, uint16_t* to, __m512 sum) {
  const auto both = (__m512i)_mm512_cvtne2ps_pbh(second, first);
  _mm512_store_si512(to, both);
  return DotPairs(sum, both, _mm512_set1_epi32(0x3f803f80));  // times one
}

// Scores s [kPageTokens] of a row that sees the whole tile to rounded weights.
LONGLEAF_PAIRS_ATTR inline void SoftmaxPairs(const float* HWY_RESTRICT s, const RunningRow& row,
                                             uint16_t* HWY_RESTRICT to) {
  const D df;
  const V s0 = hn::Load(df, s), s1 = hn::Load(df, s + 16);
  const V s2 = hn::Load(df, s + 32), s3 = hn::Load(df, s + 48);
  RaiseReference(row, hn::Max(hn::Max(s0, s1), hn::Max(s2, s3)));
  const V reference = hn::Set(df, *row.reference);
  const V w0 = Exp2(hn::Sub(s0, reference)), w1 = Exp2(hn::Sub(s1, reference));
  const V w2 = Exp2(hn::Sub(s2, reference)), w3 = Exp2(hn::Sub(s3, reference));
  const __m512 sum = RoundWeights(w0.raw, w1.raw, to, _mm512_load_ps(row.sums));
  _mm512_store_ps(row.sums, RoundWeights(w2.raw, w3.raw, to + 32, sum));
}

// Weights w [kPageTokens] to rounded ones.
LONGLEAF_PAIRS_ATTR inline void RoundWeightRow(const float* w, const RunningRow& row,
                                               uint16_t* to) {
  const __m512 sum =
      RoundWeights(_mm512_load_ps(w), _mm512_load_ps(w + 16), to, _mm512_load_ps(row.sums));
  _mm512_store_ps(row.sums,
                  RoundWeights(_mm512_load_ps(w + 32), _mm512_load_ps(w + 48), to + 32, sum));
}

// The same, in place.
LONGLEAF_PAIRS_ATTR inline void RoundInPlace(float* w) {
  for (int64_t j = 0; j < kPageTokens; j += 16) {
    const auto rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_load_ps(w + j));
    _mm512_store_si512(w + j, _mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels

#endif  // LONGLEAF_PAIRS
#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_PAIRS_INL_H_
