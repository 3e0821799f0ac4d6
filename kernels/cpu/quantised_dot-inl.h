// Dot products of four bytes with four bytes, compiled once per instruction set: weights are
// unsigned, activations signed in -127 .. 127, sums exact.
#if defined(LONGLEAF_KERNELS_CPU_QUANTISED_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGLEAF_KERNELS_CPU_QUANTISED_DOT_INL_H_
#undef LONGLEAF_KERNELS_CPU_QUANTISED_DOT_INL_H_
#else
#define LONGLEAF_KERNELS_CPU_QUANTISED_DOT_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

// Highway 1.0.3 leaves the instructions for products of bytes out of the target that has them.
// Functions take the attribute from here: none of them may carry HWY_ATTR, which would replace it.
#undef LONGLEAF_TARGET_STR
#if HWY_TARGET == HWY_AVX3_DL
#define LONGLEAF_TARGET_STR HWY_TARGET_STR ",avx512vnni"
#elif defined(HWY_TARGET_STR)
#define LONGLEAF_TARGET_STR HWY_TARGET_STR
#endif
#undef LONGLEAF_BEFORE_NAMESPACE
#ifdef LONGLEAF_TARGET_STR
#define LONGLEAF_BEFORE_NAMESPACE()        \
  HWY_PUSH_ATTRIBUTES(LONGLEAF_TARGET_STR) \
  static_assert(true, "For requiring trailing semicolon")
#else
#define LONGLEAF_BEFORE_NAMESPACE() HWY_BEFORE_NAMESPACE()
#endif

LONGLEAF_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using DI = hn::CappedTag<int32_t, 16>;  // a lane: four bytes of one output
using VI = hn::Vec<DI>;

// Weights and Activations are vectors of such lanes, brought into the form that the instruction set
// multiplies; Dot adds the products of each lane's four to `sum`.
#if HWY_TARGET == HWY_AVX3_DL

using Weights = VI;
using Activations = VI;
HWY_INLINE Weights PrepareWeights(VI w) { return w; }
HWY_INLINE Activations PrepareActivations(VI a) { return a; }
HWY_INLINE VI Dot(VI sum, Weights w, Activations a) {
  return VI{_mm512_dpbusd_epi32(sum.raw, w.raw, a.raw)};
}

#elif HWY_ARCH_X86 && HWY_TARGET != HWY_EMU128 && HWY_TARGET != HWY_SCALAR

// As 16-bit numbers, of which two are multiplied and added at a time: the 8-bit form saturates.
struct Weights {
  VI even, odd;
};
using Activations = Weights;
using D16 = hn::Repartition<int16_t, DI>;
HWY_INLINE Weights PrepareWeights(VI w) {
  const DI di;
  return {hn::And(w, hn::Set(di, 0x00FF00FF)),
          hn::BitCast(di, hn::ShiftRight<8>(hn::BitCast(hn::Repartition<uint16_t, DI>(), w)))};
}
HWY_INLINE Activations PrepareActivations(VI a) {
  const DI di;
  const auto pairs = hn::BitCast(D16(), a);
  return {hn::BitCast(di, hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs))),
          hn::BitCast(di, hn::ShiftRight<8>(pairs))};
}
HWY_INLINE VI Dot(VI sum, const Weights& w, const Activations& a) {
  const DI di;
  const D16 d16;
  VI unused = hn::Zero(di);  // on x86 all goes to the first sum, lane by lane
  sum = hn::ReorderWidenMulAccumulate(di, hn::BitCast(d16, w.even), hn::BitCast(d16, a.even), sum,
                                      unused);
  return hn::ReorderWidenMulAccumulate(di, hn::BitCast(d16, w.odd), hn::BitCast(d16, a.odd), sum,
                                       unused);
}

#elif HWY_ARCH_ARM_A64 && HWY_TARGET == HWY_NEON

struct Weights {
  int16x8_t even, odd;
};
using Activations = Weights;
HWY_INLINE Weights PrepareWeights(VI w) {
  const uint16x8_t pairs = vreinterpretq_u16_s32(w.raw);
  return {vreinterpretq_s16_u16(vandq_u16(pairs, vdupq_n_u16(0x00FF))),
          vreinterpretq_s16_u16(vshrq_n_u16(pairs, 8))};
}
HWY_INLINE Activations PrepareActivations(VI a) {
  const int16x8_t pairs = vreinterpretq_s16_s32(a.raw);
  return {vshrq_n_s16(vshlq_n_s16(pairs, 8), 8), vshrq_n_s16(pairs, 8)};
}
HWY_INLINE VI Dot(VI sum, const Weights& w, const Activations& a) {
  int32x4_t low = vmull_s16(vget_low_s16(w.even), vget_low_s16(a.even));
  int32x4_t high = vmull_high_s16(w.even, a.even);
  low = vmlal_s16(low, vget_low_s16(w.odd), vget_low_s16(a.odd));
  high = vmlal_high_s16(high, w.odd, a.odd);
  return VI(vaddq_s32(sum.raw, vpaddq_s32(low, high)));
}

#else

struct Weights {
  VI byte0, byte1, byte2, byte3;
};
using Activations = Weights;
HWY_INLINE Weights PrepareWeights(VI w) {
  const auto mask = hn::Set(DI(), 0xFF);
  return {hn::And(w, mask), hn::And(hn::ShiftRight<8>(w), mask),
          hn::And(hn::ShiftRight<16>(w), mask), hn::And(hn::ShiftRight<24>(w), mask)};
}
HWY_INLINE Activations PrepareActivations(VI a) {
  return {hn::ShiftRight<24>(hn::ShiftLeft<24>(a)), hn::ShiftRight<24>(hn::ShiftLeft<16>(a)),
          hn::ShiftRight<24>(hn::ShiftLeft<8>(a)), hn::ShiftRight<24>(a)};
}
HWY_INLINE VI Dot(VI sum, const Weights& w, const Activations& a) {
  sum = hn::Add(sum, hn::Mul(w.byte0, a.byte0));
  sum = hn::Add(sum, hn::Mul(w.byte1, a.byte1));
  sum = hn::Add(sum, hn::Mul(w.byte2, a.byte2));
  return hn::Add(sum, hn::Mul(w.byte3, a.byte3));
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#endif  // LONGLEAF_KERNELS_CPU_QUANTISED_DOT_INL_H_
