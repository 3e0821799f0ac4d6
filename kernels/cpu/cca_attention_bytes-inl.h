// Attention over one key tile of i8 numbers with AVX512-VNNI, four
// multiply-adds a lane. Queries and weights are integers of 16 bits here, a
// high and a low byte with a product each: what this rounds away is far below
// what rounding the state has cost. Sums over a tile are exact.
//
// Highway's target for these instructions is not built by default: the
// functions here carry it themselves, and cca_attention_numbers-inl.h calls
// them only where the processor has it.
#if defined(LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BYTES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BYTES_INL_H_
#undef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BYTES_INL_H_
#else
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BYTES_INL_H_
#endif

#include <bit>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_block.h"
#include "kernels/cpu/cca_attention_softmax-inl.h"
#include "kernels/cpu/cca_attention_tile-inl.h"

#undef LONGLEAF_BYTES
#if HWY_TARGET == HWY_AVX3 && HWY_COMPILER_CLANG
#define LONGLEAF_BYTES 1
#else
#define LONGLEAF_BYTES 0
#endif

#if LONGLEAF_BYTES

#include <immintrin.h>

#undef LONGLEAF_BYTES_ATTR
#define LONGLEAF_BYTES_ATTR __attribute__((target(HWY_TARGET_STR ",avx512vnni")))
#undef LONGLEAF_BYTES_INLINE
#define LONGLEAF_BYTES_INLINE LONGLEAF_BYTES_ATTR inline __attribute__((always_inline))

namespace longleaf::kernels {
namespace HWY_NAMESPACE {

// Four bytes side by side, the first in the low bits.
using Quad = uint32_t;

inline constexpr int64_t kByteRows = 4;
inline constexpr int64_t kQuadsOfKeys = kPageTokens / 4;

// A scaled query x[d] as integers n = x / unit of at most 32639, n = 256 * high
// + low with bytes of -128..127. In memory: [quads, 2] (high, low), then what
// follows the quads.
inline constexpr int64_t kQueryEnd = 4;  // of Quads
struct ByteQueryEnd {
  int32_t high;  // -128 * sum of the high bytes: the keys' bytes are multiplied
                 // with 128 added
  int32_t low;
  float unit;
  int32_t unused;
};
static_assert(sizeof(ByteQueryEnd) == kQueryEnd * sizeof(Quad));
constexpr int64_t QuadsOf(int64_t d) { return (d + 3) / 4; }
constexpr int64_t ByteQueryStride(int64_t d) { return 2 * QuadsOf(d) + kQueryEnd; }

LONGLEAF_BYTES_ATTR inline void SplitQuery(const float* from, int64_t d, float scale, Quad* to) {
  const auto numbers = [&](int64_t i) LONGLEAF_BYTES_ATTR {
    const auto mask = static_cast<__mmask16>(d - i >= 16 ? 0xffff : (1u << (d - i)) - 1);
    return _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, from + i), _mm512_set1_ps(scale));
  };
  __m512 most = _mm512_set1_ps(0x1p-100f);
  for (int64_t i = 0; i < d; i += 16) most = _mm512_max_ps(_mm512_abs_ps(numbers(i)), most);
  const float top = _mm512_reduce_max_ps(most);
  const __m512 inverse = _mm512_set1_ps(32639.0f / top);
  __m512 damage = _mm512_setzero_ps();  // a query with NaN stays so
  __m512i high_sum = _mm512_setzero_si512(), low_sum = high_sum;
  for (int64_t i = 0; i < d; i += 16) {
    const __m512i n = _mm512_cvtps_epi32(_mm512_mul_ps(numbers(i), inverse));
    damage = _mm512_fmadd_ps(numbers(i), _mm512_setzero_ps(), damage);
    const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(128)), 8);
    const __m512i low = _mm512_sub_epi32(n, _mm512_slli_epi32(high, 8));
    high_sum = _mm512_add_epi32(high_sum, high);
    low_sum = _mm512_add_epi32(low_sum, low);
    const __m128i h = _mm512_cvtepi32_epi8(high), l = _mm512_cvtepi32_epi8(low);
    auto* pairs = reinterpret_cast<__m128i*>(to + i / 2);  // the last may reach beyond the row
    _mm_storeu_si128(pairs, _mm_unpacklo_epi32(h, l));
    _mm_storeu_si128(pairs + 1, _mm_unpackhi_epi32(h, l));
  }
  const ByteQueryEnd end{-128 * _mm512_reduce_add_epi32(high_sum),
                         -128 * _mm512_reduce_add_epi32(low_sum),
                         top / 32639.0f + _mm512_reduce_add_ps(damage), 0};
  std::memcpy(to + 2 * QuadsOf(d), &end, sizeof(end));
}

// s[r, j] = scale[j] * sum_i q[r, i] * k[i, j], for R rows and NV vectors of
// keys.
template <int R, int NV>
LONGLEAF_BYTES_INLINE void ScoreBytes(const Quad* HWY_RESTRICT q,  // [R, stride]
                                      int64_t quads,
                                      const Quad* HWY_RESTRICT k,  // [quads, kPageTokens]
                                      const float* scales,         // [kPageTokens], like k
                                      Ahead& to_ask,
                                      float* HWY_RESTRICT s) {  // [R, kPageTokens], like k
  const int64_t stride = 2 * quads + kQueryEnd;
  __m512i high[R][NV], low[R][NV];
  for (int r = 0; r < R; ++r) {
    const Quad* end = q + r * stride + 2 * quads;
    for (int v = 0; v < NV; ++v) {
      high[r][v] = _mm512_set1_epi32(static_cast<int32_t>(end[0]));
      low[r][v] = _mm512_set1_epi32(static_cast<int32_t>(end[1]));
    }
  }
  const __m512i add_128 = _mm512_set1_epi32(static_cast<int32_t>(0x80808080u));
  Ahead ahead = to_ask;
  int64_t due = ahead.first();
  for (int64_t i = 0; i < quads; ++i, k += kPageTokens) {
    __m512i key[NV];
    for (int v = 0; v < NV; ++v) {
      key[v] = _mm512_xor_si512(_mm512_loadu_si512(k + v * 16), add_128);
    }
    Ask<NV>(ahead, due);
    for (int r = 0; r < R; ++r) {
      const __m512i h = _mm512_set1_epi32(static_cast<int32_t>(q[r * stride + 2 * i]));
      const __m512i l = _mm512_set1_epi32(static_cast<int32_t>(q[r * stride + 2 * i + 1]));
      for (int v = 0; v < NV; ++v) {
        high[r][v] = _mm512_dpbusd_epi32(high[r][v], key[v], h);
        low[r][v] = _mm512_dpbusd_epi32(low[r][v], key[v], l);
      }
    }
  }
  to_ask = ahead;
  for (int r = 0; r < R; ++r) {
    const __m512 unit = _mm512_set1_ps(std::bit_cast<float>(q[r * stride + 2 * quads + 2]));
    for (int v = 0; v < NV; ++v) {
      const __m512 sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(high[r][v]), _mm512_set1_ps(256.0f),
                                         _mm512_cvtepi32_ps(low[r][v]));
      const __m512 scale = _mm512_mul_ps(unit, _mm512_loadu_ps(scales + v * 16));
      _mm512_storeu_ps(s + r * kPageTokens + v * 16, _mm512_mul_ps(sum, scale));
    }
  }
}

// Weights of one row over a tile, already times the scales of the values:
// integers of 16 bits times `unit`.
struct ByteWeights {
  alignas(64) uint8_t high[kPageTokens];
  alignas(64) uint8_t low[kPageTokens];
  alignas(64) float unit;
};

// o[r, c] += sum_j w[r, j] * v[j, c], for R rows, NV vectors of columns, quads
// first .. end - 1 of keys. `columns`: of a last, partial vector.
template <int R, int NV, bool kPartial>
LONGLEAF_BYTES_INLINE void ValueBytes(const ByteWeights* w, int64_t first, int64_t end,
                                      const Quad* HWY_RESTRICT v,  // [kQuadsOfKeys, d], at a column
                                      int64_t d, __mmask16 columns, float damage, Ahead& to_ask,
                                      float* HWY_RESTRICT o,  // [R, padded d], like v
                                      int64_t o_stride) {
  __m512i high[R][NV], low[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < NV; ++c) high[r][c] = low[r][c] = _mm512_setzero_si512();
  }
  v += first * d;
  Ahead ahead = to_ask;
  int64_t due = ahead.first();
  for (int64_t quad = first; quad < end; ++quad, v += d) {
    __m512i value[NV];
    for (int c = 0; c < NV; ++c) {
      value[c] = kPartial ? _mm512_maskz_loadu_epi32(columns, v) : _mm512_loadu_si512(v + c * 16);
    }
    Ask<NV>(ahead, due);
    for (int r = 0; r < R; ++r) {
      int32_t bytes[2];
      std::memcpy(bytes, w[r].high + 4 * quad, 4);
      std::memcpy(bytes + 1, w[r].low + 4 * quad, 4);
      const __m512i h = _mm512_set1_epi32(bytes[0]), l = _mm512_set1_epi32(bytes[1]);
      for (int c = 0; c < NV; ++c) {
        high[r][c] = _mm512_dpbusd_epi32(high[r][c], h, value[c]);
        low[r][c] = _mm512_dpbusd_epi32(low[r][c], l, value[c]);
      }
    }
  }
  to_ask = ahead;
  for (int r = 0; r < R; ++r) {
    const __m512 unit = _mm512_set1_ps(w[r].unit + damage);
    for (int c = 0; c < NV; ++c) {
      const __m512 sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(high[r][c]), _mm512_set1_ps(256.0f),
                                         _mm512_cvtepi32_ps(low[r][c]));
      float* to = o + r * o_stride + c * 16;
      _mm512_store_ps(to, _mm512_fmadd_ps(sum, unit, _mm512_load_ps(to)));
    }
  }
}

// Keys j0 .. j1 - 1 of the tile for R rows, widened to whole vectors.
template <int R>
LONGLEAF_BYTES_ATTR HWY_NOINLINE void ScoreByteRows(const Quad* q, int64_t quads, const Quad* k,
                                                    const float* scales, Ahead& ahead, int64_t j0,
                                                    int64_t j1, float* s) {
  int64_t j = j0 / 16 * 16;
  if constexpr (R <= 2) {
    for (; j + 48 < j1; j += 64) ScoreBytes<R, 4>(q, quads, k + j, scales + j, ahead, s + j);
  }
  for (; j + 16 < j1; j += 32) ScoreBytes<R, 2>(q, quads, k + j, scales + j, ahead, s + j);
  for (; j < j1; j += 16) ScoreBytes<R, 1>(q, quads, k + j, scales + j, ahead, s + j);
}

template <int R>
LONGLEAF_BYTES_ATTR HWY_NOINLINE void ValueByteRows(const ByteWeights* w, int64_t j0, int64_t j1,
                                                    const Quad* v, int64_t d, float damage,
                                                    Ahead& ahead, float* o, int64_t o_stride) {
  const int64_t first = j0 / 4, end = (j1 + 3) / 4;
  int64_t c = 0;
  if constexpr (R <= 2) {
    for (; c + 64 <= d; c += 64) {
      ValueBytes<R, 4, false>(w, first, end, v + c, d, 0, damage, ahead, o + c, o_stride);
    }
  }
  for (; c + 32 <= d; c += 32) {
    ValueBytes<R, 2, false>(w, first, end, v + c, d, 0, damage, ahead, o + c, o_stride);
  }
  for (; c + 16 <= d; c += 16) {
    ValueBytes<R, 1, false>(w, first, end, v + c, d, 0, damage, ahead, o + c, o_stride);
  }
  if (c == d) return;
  const auto columns = static_cast<__mmask16>((1u << (d - c)) - 1);
  ValueBytes<R, 1, true>(w, first, end, v + c, d, columns, damage, ahead, o + c, o_stride);
}

// Weights to integers, with `scales` [kPageTokens] of the values, finite.
LONGLEAF_BYTES_INLINE void SplitWeights(__m512 w0, __m512 w1, __m512 w2, __m512 w3,
                                        const float* scales, ByteWeights& to) {
  const D df;
  __m512 w[4] = {w0, w1, w2, w3};
  for (int n = 0; n < 4; ++n) w[n] = _mm512_mul_ps(w[n], _mm512_load_ps(scales + 16 * n));
  const __m512 top = _mm512_max_ps(_mm512_max_ps(w[0], w[1]), _mm512_max_ps(w[2], w[3]));
  // The unit is a power of two, 2^15 times smaller than the greatest weight's: 65535 is the most.
  const V most = hn::MaxOfLanes(df, V{_mm512_max_ps(top, _mm512_set1_ps(0x1p-105f))});
  const __m512i exponent = _mm512_srli_epi32(_mm512_castps_si512(most.raw), 23);
  const __m512i unit = _mm512_slli_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(15)), 23);
  to.unit = _mm_cvtss_f32(_mm_castsi128_ps(_mm512_castsi512_si128(unit)));
  const __m512 inverse = _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_sub_epi32(_mm512_set1_epi32(254 + 15), exponent), 23));
  // Packing keeps the 128-bit parts apart and saturates; the order is put right at the end.
  const __m512i x01 = _mm512_packus_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(w[0], inverse)),
                                          _mm512_cvtps_epi32(_mm512_mul_ps(w[1], inverse)));
  const __m512i x23 = _mm512_packus_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(w[2], inverse)),
                                          _mm512_cvtps_epi32(_mm512_mul_ps(w[3], inverse)));
  const __m512i high = _mm512_packus_epi16(_mm512_srli_epi16(x01, 8), _mm512_srli_epi16(x23, 8));
  const __m512i byte = _mm512_set1_epi16(0xff);
  const __m512i low = _mm512_packus_epi16(_mm512_and_si512(x01, byte), _mm512_and_si512(x23, byte));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_store_si512(to.high, _mm512_permutexvar_epi32(order, high));
  _mm512_store_si512(to.low, _mm512_permutexvar_epi32(order, low));
}

// Scores s [kPageTokens] of a row that sees the whole tile to weights.
LONGLEAF_BYTES_ATTR inline void SoftmaxBytes(const float* HWY_RESTRICT s, const float* scales,
                                             const RunningRow& row, ByteWeights& to) {
  const D df;
  const V s0 = hn::Load(df, s), s1 = hn::Load(df, s + 16);
  const V s2 = hn::Load(df, s + 32), s3 = hn::Load(df, s + 48);
  RaiseReference(row, hn::Max(hn::Max(s0, s1), hn::Max(s2, s3)));
  const V reference = hn::Set(df, *row.reference);
  const V w0 = Exp2(hn::Sub(s0, reference)), w1 = Exp2(hn::Sub(s1, reference));
  const V w2 = Exp2(hn::Sub(s2, reference)), w3 = Exp2(hn::Sub(s3, reference));
  const V sum = hn::Add(hn::Add(w0, w1), hn::Add(w2, w3));
  hn::Store(hn::Add(hn::Load(df, row.sums), sum), df, row.sums);
  SplitWeights(w0.raw, w1.raw, w2.raw, w3.raw, scales, to);
}

// Weights w [kPageTokens] to integers.
LONGLEAF_BYTES_ATTR inline void SplitWeightRow(const float* w, const float* scales,
                                               ByteWeights& to) {
  SplitWeights(_mm512_load_ps(w), _mm512_load_ps(w + 16), _mm512_load_ps(w + 32),
               _mm512_load_ps(w + 48), scales, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels

#endif  // LONGLEAF_BYTES
#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BYTES_INL_H_
