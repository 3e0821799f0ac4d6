// Makes tiles of bf16 or i8 pages (page.h) f32, for the loops of cca_attention_tile-inl.h: where
// the processor has no products of such numbers. Compiled once per instruction set.
#if defined(LONGLEAF_KERNELS_CPU_CCA_ATTENTION_EXPAND_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_EXPAND_INL_H_
#undef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_EXPAND_INL_H_
#else
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_EXPAND_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_block.h"
#include "kernels/cpu/cca_attention_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

using U = hn::Vec<hn::RebindToUnsigned<D>>;

// A vector of groups (of two bf16 or four i8 numbers) at `from`, of which `left` exist; reads no
// further.
HWY_INLINE U LoadGroups(const uint32_t* from, int64_t left) {
  const hn::RebindToUnsigned<D> du;
  if (left >= static_cast<int64_t>(hn::Lanes(du))) return hn::LoadU(du, from);
  return hn::BitCast(du, LoadColumns(reinterpret_cast<const float*>(from), left));
}

// Number n of each group.
template <int kPacking>
HWY_INLINE V NumbersOf(U groups, int n) {
  const D df;
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  if constexpr (kPacking == 2) {
    return hn::BitCast(
        df, n == 0 ? hn::ShiftLeft<16>(groups) : hn::And(groups, hn::Set(du, 0xffff0000u)));
  }
  const auto top = n == 0   ? hn::ShiftLeft<24>(groups)
                   : n == 1 ? hn::ShiftLeft<16>(groups)
                   : n == 2 ? hn::ShiftLeft<8>(groups)
                            : groups;
  return hn::ConvertTo(df, hn::ShiftRight<24>(hn::BitCast(di, top)));
}

// Groups [rows, width] to f32 to[rows * kPacking, stride], where row n of a row's has number n of
// its groups; stride is at least `width` rounded up to whole vectors.
// Keys are scaled by column, values by row of `to`, or not at all where the scales are null. Asks
// meanwhile for as many groups at `next`.
template <int kPacking>
HWY_INLINE void ExpandToFloats(const uint32_t* HWY_RESTRICT from, int64_t rows, int64_t width,
                               const float* column_scales, const float* row_scales,
                               const std::byte* next, float* HWY_RESTRICT to, int64_t stride) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  for (int64_t r = 0; r < rows; ++r, from += width, to += kPacking * stride) {
    for (int64_t c = 0; c < width; c += lanes, next += lanes * 4) {
      __builtin_prefetch(next, /*rw=*/0, /*locality=*/3);
      const U groups = LoadGroups(from + c, width - c);
      for (int n = 0; n < kPacking; ++n) {
        V x = NumbersOf<kPacking>(groups, n);
        if (column_scales != nullptr) x = hn::Mul(x, hn::LoadU(df, column_scales + c));
        if (row_scales != nullptr) x = hn::Mul(x, hn::Set(df, row_scales[r * kPacking + n]));
        hn::Store(x, df, to + n * stride + c);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_EXPAND_INL_H_
