// The inner loops of attention over one key tile, compiled once per instruction set: scores, the
// running softmax, and weighted values. Everything here is in the base-2 exponent: queries come
// scaled by log2(e) / sqrt(d), so a weight is 2^(score - reference).
#if defined(LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_
#undef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_
#else
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <limits>

#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_block.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<float, kMaxLanes>;
using V = hn::Vec<D>;

// Register blocking: kTileRows query rows by kTileVectors vectors of keys or of value columns.
// 6 x 4 fills the 32 registers of AVX-512 and NEON, 6 x 2 the 16 of AVX2 and SSE4.
inline constexpr int64_t kTileRows = 6;
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM
inline constexpr int kTileVectors = 4;
#else
inline constexpr int kTileVectors = 2;
#endif

// A row's reference exponent moves only when a score exceeds it by this much: weights then reach
// 2^8, far from overflow, and the result is rarely rescaled.
inline constexpr float kSlack = 8.0f;

// 2^x for x <= kSlack, relative error below 2e-7. Below 2^-100 it answers 2^-100: nothing beside
// the largest weight, and no denormals. Degree 5, minimax on [-1/2, 1/2] in relative error.
HWY_INLINE V Exp2(V x) {
  const D df;
  const hn::RebindToSigned<D> di;
  x = hn::Max(x, hn::Set(df, -100.0f));
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const V magic = hn::Set(df, 12582912.0f);
  const V rounded = hn::Add(x, magic);
  const V f = hn::Sub(x, hn::Sub(rounded, magic));
  V p = hn::Set(df, 1.3276471979286704e-3f);
  p = hn::MulAdd(p, f, hn::Set(df, 9.675541334209831e-3f));
  p = hn::MulAdd(p, f, hn::Set(df, 5.550713273543076e-2f));
  p = hn::MulAdd(p, f, hn::Set(df, 2.4022119723848648e-1f));
  p = hn::MulAdd(p, f, hn::Set(df, 6.93146967064733e-1f));
  p = hn::MulAdd(p, f, hn::Set(df, 1.0000000716546822f));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, rounded));
  return hn::BitCast(df, hn::Add(hn::BitCast(di, p), exponent));
}

HWY_INLINE float ScalarExp2(float x) {
  const D df;
  return hn::GetLane(Exp2(hn::Set(df, x)));
}

// ---- scores: s[r, j] = sum_i q[r, i] * k[i, j], for R rows and NV vectors of keys
template <int R, int NV>
HWY_INLINE void ScoreTile(const float* HWY_RESTRICT q,  // [R, d]
                          int64_t d,
                          const float* HWY_RESTRICT k,  // [d, kPageTokens], at its first column
                          float* HWY_RESTRICT s) {      // [R, kPageTokens], at its first column
  const D df;
  const size_t lanes = hn::Lanes(df);
  V sum[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) sum[r][v] = hn::Zero(df);
  }
  for (int64_t i = 0; i < d; ++i, k += kPageTokens) {
    V key[NV];
    for (int v = 0; v < NV; ++v) key[v] = hn::LoadU(df, k + v * lanes);
    for (int r = 0; r < R; ++r) {
      const V query = hn::Set(df, q[r * d + i]);
      for (int v = 0; v < NV; ++v) sum[r][v] = hn::MulAdd(query, key[v], sum[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) hn::Store(sum[r][v], df, s + r * kPageTokens + v * lanes);
  }
}

// ---- values: o[r, c] += sum_j p[r, j] * v[j, c], for R rows, NV vectors of columns, keys j0..j1-1
template <int R, int NV>
HWY_INLINE void ValueTile(const float* HWY_RESTRICT p,  // [R, kPageTokens]
                          int64_t j0, int64_t j1,
                          const float* HWY_RESTRICT v,  // [kPageTokens, d], at its first column
                          int64_t d,
                          float* HWY_RESTRICT o,  // [R, padded d], at its first column
                          int64_t o_stride) {
  const D df;
  const size_t lanes = hn::Lanes(df);
  V sum[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < NV; ++c) sum[r][c] = hn::Load(df, o + r * o_stride + c * lanes);
  }
  v += j0 * d;
  for (int64_t j = j0; j < j1; ++j, v += d) {
    V value[NV];
    for (int c = 0; c < NV; ++c) value[c] = hn::LoadU(df, v + c * lanes);
    for (int r = 0; r < R; ++r) {
      const V weight = hn::Set(df, p[r * kPageTokens + j]);
      for (int c = 0; c < NV; ++c) sum[r][c] = hn::MulAdd(weight, value[c], sum[r][c]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < NV; ++c) hn::Store(sum[r][c], df, o + r * o_stride + c * lanes);
  }
}

// The first `columns` floats at `from`, then zeros. Reads no further: a value row may end its page.
HWY_INLINE V LoadColumns(const float* from, int64_t columns) {
  const D df;
#if HWY_MEM_OPS_MIGHT_FAULT
  alignas(64) float row[kMaxLanes] = {};
  for (int64_t c = 0; c < columns; ++c) row[c] = from[c];
  return hn::Load(df, row);
#else
  return hn::MaskedLoad(hn::FirstN(df, static_cast<size_t>(columns)), df, from);
#endif
}

// The columns after the last whole vector.
template <int R>
HWY_INLINE void ValueTail(const float* HWY_RESTRICT p, int64_t j0, int64_t j1,
                          const float* HWY_RESTRICT v, int64_t d, int64_t columns,
                          float* HWY_RESTRICT o, int64_t o_stride) {
  const D df;
  V sum[R];
  for (int r = 0; r < R; ++r) sum[r] = hn::Load(df, o + r * o_stride);
  v += j0 * d;
  for (int64_t j = j0; j < j1; ++j, v += d) {
    const V value = LoadColumns(v, columns);
    for (int r = 0; r < R; ++r) {
      sum[r] = hn::MulAdd(hn::Set(df, p[r * kPageTokens + j]), value, sum[r]);
    }
  }
  for (int r = 0; r < R; ++r) hn::Store(sum[r], df, o + r * o_stride);
}

// Keys j0 .. j1 - 1 of the tile for R rows, widened to whole vectors.
template <int R>
HWY_NOINLINE void ScoreRows(const float* q, int64_t d, const float* k, int64_t j0, int64_t j1,
                            float* s) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  int64_t j = j0 / lanes * lanes;
  for (; j + (kTileVectors - 1) * lanes < j1; j += kTileVectors * lanes) {
    ScoreTile<R, kTileVectors>(q, d, k + j, s + j);
  }
  if (kTileVectors > 2 && j + lanes < j1) {
    ScoreTile<R, 2>(q, d, k + j, s + j);
    j += 2 * lanes;
  }
  if (j < j1) ScoreTile<R, 1>(q, d, k + j, s + j);
}

template <int R>
HWY_NOINLINE void ValueRows(const float* p, int64_t j0, int64_t j1, const float* v, int64_t d,
                            float* o, int64_t o_stride) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  int64_t c = 0;
  for (; c + kTileVectors * lanes <= d; c += kTileVectors * lanes) {
    ValueTile<R, kTileVectors>(p, j0, j1, v + c, d, o + c, o_stride);
  }
  if (kTileVectors > 2 && c + 2 * lanes <= d) {
    ValueTile<R, 2>(p, j0, j1, v + c, d, o + c, o_stride);
    c += 2 * lanes;
  }
  if (c + lanes <= d) {
    ValueTile<R, 1>(p, j0, j1, v + c, d, o + c, o_stride);
    c += lanes;
  }
  if (c < d) ValueTail<R>(p, j0, j1, v + c, d, d - c, o + c, o_stride);
}

// `rows` in 1..kTileRows.
inline void ScoreRowsOf(int64_t rows, const float* q, int64_t d, const float* k, int64_t j0,
                        int64_t j1, float* s) {
  switch (rows) {
    case 1:
      return ScoreRows<1>(q, d, k, j0, j1, s);
    case 2:
      return ScoreRows<2>(q, d, k, j0, j1, s);
    case 3:
      return ScoreRows<3>(q, d, k, j0, j1, s);
    case 4:
      return ScoreRows<4>(q, d, k, j0, j1, s);
    case 5:
      return ScoreRows<5>(q, d, k, j0, j1, s);
    default:
      return ScoreRows<6>(q, d, k, j0, j1, s);
  }
}

inline void ValueRowsOf(int64_t rows, const float* p, int64_t j0, int64_t j1, const float* v,
                        int64_t d, float* o, int64_t o_stride) {
  switch (rows) {
    case 1:
      return ValueRows<1>(p, j0, j1, v, d, o, o_stride);
    case 2:
      return ValueRows<2>(p, j0, j1, v, d, o, o_stride);
    case 3:
      return ValueRows<3>(p, j0, j1, v, d, o, o_stride);
    case 4:
      return ValueRows<4>(p, j0, j1, v, d, o, o_stride);
    case 5:
      return ValueRows<5>(p, j0, j1, v, d, o, o_stride);
    default:
      return ValueRows<6>(p, j0, j1, v, d, o, o_stride);
  }
}

// The running softmax of one row. `reference` starts at -infinity, `sums` and the result at zero.
struct RunningRow {
  float* reference;  // [1]
  float* sums;       // [kMaxLanes], one partial sum per lane
  float* result;     // [padded d]
  int64_t padded;
};

HWY_INLINE void MoveReference(const RunningRow& row, float to) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  // From -infinity the factor is tiny, not zero; what it scales is zero.
  const V factor = hn::Set(df, ScalarExp2(*row.reference - to));
  *row.reference = to;
  hn::Store(hn::Mul(hn::Load(df, row.sums), factor), df, row.sums);
  for (int64_t c = 0; c < row.padded; c += lanes) {
    hn::Store(hn::Mul(hn::Load(df, row.result + c), factor), df, row.result + c);
  }
}

// Scores to weights, in place, for a row that sees the whole tile.
HWY_INLINE void SoftmaxRow(float* HWY_RESTRICT s, const RunningRow& row) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  V top = hn::Load(df, s);
  for (int64_t j = lanes; j < kPageTokens; j += lanes) top = hn::Max(top, hn::Load(df, s + j));
  if (!hn::AllFalse(df, hn::Gt(top, hn::Set(df, *row.reference + kSlack)))) {
    MoveReference(row, hn::GetLane(hn::MaxOfLanes(df, top)));
  }
  const V reference = hn::Set(df, *row.reference);
  V sum = hn::Load(df, row.sums);
  for (int64_t j = 0; j < kPageTokens; j += lanes) {
    const V weight = Exp2(hn::Sub(hn::Load(df, s + j), reference));
    hn::Store(weight, df, s + j);
    sum = hn::Add(sum, weight);
  }
  hn::Store(sum, df, row.sums);
}

// The same for a row that sees keys lo .. hi - 1 only, perhaps none. Scores were computed for keys
// j0 .. j1 - 1; weights of those that the row does not see become zero.
HWY_INLINE void SoftmaxRowMasked(float* HWY_RESTRICT s, int64_t j0, int64_t j1, int64_t lo,
                                 int64_t hi, const RunningRow& row) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const V first = hn::Set(df, static_cast<float>(lo));
  const V last = hn::Set(df, static_cast<float>(hi));
  const V nothing = hn::Set(df, -std::numeric_limits<float>::infinity());
  j0 = j0 / lanes * lanes;
  V top = nothing;
  for (int64_t j = j0; j < j1; j += lanes) {
    const V index = hn::Iota(df, static_cast<float>(j));
    const auto seen = hn::And(hn::Ge(index, first), hn::Lt(index, last));
    top = hn::Max(top, hn::IfThenElse(seen, hn::Load(df, s + j), nothing));
  }
  if (!hn::AllFalse(df, hn::Gt(top, hn::Set(df, *row.reference + kSlack)))) {
    MoveReference(row, hn::GetLane(hn::MaxOfLanes(df, top)));
  }
  const V reference = hn::Set(df, *row.reference);
  V sum = hn::Load(df, row.sums);
  for (int64_t j = j0; j < j1; j += lanes) {
    const V index = hn::Iota(df, static_cast<float>(j));
    const auto seen = hn::And(hn::Ge(index, first), hn::Lt(index, last));
    // Unseen scores may be anything: their keys were perhaps never written.
    const V weight = hn::IfThenElseZero(seen, Exp2(hn::Sub(hn::Load(df, s + j), reference)));
    hn::Store(weight, df, s + j);
    sum = hn::Add(sum, weight);
  }
  hn::Store(sum, df, row.sums);
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_
