// The running softmax of attention, compiled once per instruction set. Everything here is in the
// base-2 exponent: queries come scaled by log2(e) / sqrt(d), so a weight is 2^(score - reference).
#if defined(LONGLEAF_KERNELS_CPU_CCA_ATTENTION_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_SOFTMAX_INL_H_
#undef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_SOFTMAX_INL_H_
#else
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_SOFTMAX_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

// A row's reference exponent moves only when a score exceeds it by this much: weights then reach
// 2^8, far from overflow, and the result is rarely rescaled.
inline constexpr float kSlack = 8.0f;

// 2^x for x <= kSlack, relative error below 2e-7. Below 2^-100 it answers 2^-100: nothing beside
// the largest weight, and no denormals. Degree 5, minimax on [-1/2, 1/2] in relative error.
HWY_INLINE V Exp2(V x) {
  const D df;
  const hn::RebindToSigned<D> di;
  x = hn::Max(hn::Set(df, -100.0f), x);  // in this order NaN stays NaN on x86
#if HWY_TARGET == HWY_AVX3
  // The same polynomial, on [0, 1): the instructions for parts and powers round down.
  const V part{_mm512_reduce_ps(x.raw, _MM_FROUND_TO_NEG_INF)};
  V power = hn::Set(df, 0.0018775766733573626f);
  power = hn::MulAdd(power, part, hn::Set(df, 0.008989340094747608f));
  power = hn::MulAdd(power, part, hn::Set(df, 0.055826318050001156f));
  power = hn::MulAdd(power, part, hn::Set(df, 0.24015361704535004f));
  power = hn::MulAdd(power, part, hn::Set(df, 0.6931530732000736f));
  power = hn::MulAdd(power, part, hn::Set(df, 0.9999999250635301f));
  return V{_mm512_scalef_ps(power.raw, x.raw)};
#else
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
#endif
}

HWY_INLINE float ScalarExp2(float x) {
  const D df;
  return hn::GetLane(Exp2(hn::Set(df, x)));
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

// Lets no score in `top` exceed the reference by more than the slack. The reference stays a whole
// number, so that a weight is the same number times a power of two whatever was seen before it: its
// rounding to fewer bits does not depend on how a row's keys are split.
HWY_INLINE void RaiseReference(const RunningRow& row, V top) {
  const D df;
  if (hn::AllFalse(df, hn::Gt(top, hn::Set(df, *row.reference + kSlack)))) return;
  MoveReference(row, std::ceil(hn::GetLane(hn::MaxOfLanes(df, top))));
}

// Scores to weights, in place, for a row that sees the whole tile.
HWY_INLINE void SoftmaxRow(float* HWY_RESTRICT s, const RunningRow& row) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  V top = hn::Load(df, s);
  for (int64_t j = lanes; j < kPageTokens; j += lanes) top = hn::Max(top, hn::Load(df, s + j));
  RaiseReference(row, top);
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
// j0 .. j1 - 1; weights of those that the row does not see become zero. Without `adds_up` the sum
// is left to others.
HWY_INLINE void SoftmaxRowMasked(float* HWY_RESTRICT s, int64_t j0, int64_t j1, int64_t lo,
                                 int64_t hi, bool adds_up, const RunningRow& row) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const V first = hn::Set(df, static_cast<float>(lo));
  const V last = hn::Set(df, static_cast<float>(hi));
  const V nothing = hn::Set(df, -std::numeric_limits<float>::infinity());
  j0 = j0 / lanes * lanes;
  j1 = (j1 + lanes - 1) / lanes * lanes;
  V top = nothing;
  for (int64_t j = j0; j < j1; j += lanes) {
    const V index = hn::Iota(df, static_cast<float>(j));
    const auto seen = hn::And(hn::Ge(index, first), hn::Lt(index, last));
    top = hn::Max(top, hn::IfThenElse(seen, hn::Load(df, s + j), nothing));
  }
  RaiseReference(row, top);
  const V reference = hn::Set(df, *row.reference);
  V sum = hn::Zero(df);
  for (int64_t j = j0; j < j1; j += lanes) {
    const V index = hn::Iota(df, static_cast<float>(j));
    const auto seen = hn::And(hn::Ge(index, first), hn::Lt(index, last));
    // Unseen scores may be anything: their keys were perhaps never written.
    const V weight = hn::IfThenElseZero(seen, Exp2(hn::Sub(hn::Load(df, s + j), reference)));
    hn::Store(weight, df, s + j);
    sum = hn::Add(sum, weight);
  }
  std::fill(s, s + j0, 0.0f);
  std::fill(s + j1, s + kPageTokens, 0.0f);
  if (adds_up) hn::Store(hn::Add(hn::Load(df, row.sums), sum), df, row.sums);
}

// Ends row r of the block: divides `result` [padded d] by its sum into the row of item->out.
// `stats` as in MergeBlock.
HWY_INLINE void WriteRow(const AttentionBlock& block, int64_t r, const float* result,
                         float reference, float sum, float* stats) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const int64_t d = block.dims->head_dim;
  const int64_t h = block.head + r / block.tokens;
  const int64_t row = block.row + r % block.tokens;
  const float inverse = 1.0f / sum;
  float* to = block.item->out + (row * block.dims->query_heads + h) * d;
  const V scale = hn::Set(df, inverse);
  int64_t c = 0;
  for (; c + lanes <= d; c += lanes) {
    hn::StoreU(hn::Mul(hn::Load(df, result + c), scale), df, to + c);
  }
  for (; c < d; ++c) to[c] = result[c] * inverse;
  if (stats != nullptr && row == block.item->rows - 1) {
    stats[2 * h] = reference;
    stats[2 * h + 1] = inverse;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_SOFTMAX_INL_H_
