// The product of quantised panels and activations (Highway, dispatched at run time). One kernel for
// any number of rows: a few run at the speed of memory, many near the peak of the byte dot product.
#include "kernels/cpu/quantised_panels.h"

#include <algorithm>
#include <cstring>

// Instructions for products of bytes (VNNI) come with this target, which is off by default. Vectors
// are kept in arrays, which the scalable ones cannot be.
#define HWY_WANT_AVX3_DL
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/quantised_panels.cc"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"
#include "kernels/cpu/quantised_dot-inl.h"

LONGLEAF_BEFORE_NAMESPACE();
namespace longleaf::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using VF = hn::Vec<DF>;

// Register blocking: rows by vectors of columns, each with an integer and a float sum. Fewer rows
// take more columns.
#undef LONGLEAF_MANY_REGISTERS
#define LONGLEAF_MANY_REGISTERS (HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64)
#if LONGLEAF_MANY_REGISTERS
constexpr int64_t kMostRows = 6;
constexpr int kVectorsForMany = 2;
constexpr int kVectorsForFew = 4;  // up to kMostRows / 2 rows
#else
constexpr int64_t kMostRows = 2;
constexpr int kVectorsForMany = 2;
constexpr int kVectorsForFew = 4;
#endif

// Rows that need one pass over a panel read it straight on, and ask for what comes this much later:
// the hardware's own prefetcher stops at page boundaries. Rows that need several passes take it
// slice by slice: the second pass finds a slice in the first-level cache, and between them they ask
// for the next one, so that memory and arithmetic overlap. Where the panel is in the second-level
// cache anyway, every pass reads straight on, and nobody asks for anything.
constexpr int64_t kAheadBytes = 4096;
constexpr int64_t kSliceDepth = 256;       // inputs
constexpr int64_t kMostRowsInSlices = 48;  // whose sums are kept between slices

// Some groups of a panel.
struct Slice {
  int64_t begin;  // groups begin .. end - 1
  int64_t end;
  bool first;            // sums start at zero
  const uint8_t* ahead;  // what to ask for meanwhile, up to
  const uint8_t* ahead_end;
  int64_t lines_per_step;  // so many cache lines at each step
};

// Asks for some of what `slice` wants asked.
HWY_INLINE void Ask(Slice& slice) {
  if (slice.ahead >= slice.ahead_end) return;
  for (int64_t line = 0; line < slice.lines_per_step; ++line) {
    __builtin_prefetch(slice.ahead + 64 * line);
  }
  slice.ahead += 64 * slice.lines_per_step;
}

// The scales of NV vectors of columns at column `column`.
template <WeightFormat kFormat, int NV>
HWY_INLINE void LoadScales(const uint8_t* scales, int64_t column, VF (&out)[NV]) {
  const DF df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  for (int v = 0; v < NV; ++v) {
    const int64_t at = column + v * lanes;
    if constexpr (kFormat == WeightFormat::kI8) {
      out[v] = hn::Load(df, reinterpret_cast<const float*>(scales) + at);
    } else {
      const hn::Rebind<uint16_t, DF> d16;
      const hn::Rebind<uint32_t, DF> d32;
      const auto bits = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(scales) + at);
      out[v] = hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(d32, bits)));
    }
  }
}

template <int64_t R, int NV>
HWY_INLINE void AddQuad(const Weights (&w)[NV], const int8_t* numbers, int64_t stride,
                        VI (&sum)[R][NV]) {
  const DI di;
  for (int64_t r = 0; r < R; ++r) {
    int32_t quad;
    std::memcpy(&quad, numbers + r * stride, sizeof(quad));
    const Activations a = PrepareActivations(hn::Set(di, quad));
    for (int v = 0; v < NV; ++v) sum[r][v] = Dot(sum[r][v], w[v], a);
  }
}

// R rows by NV vectors of columns from `column` on, the groups of `slice`. sums: [R, kPanelColumns]
template <WeightFormat kFormat, int64_t R, int NV, bool kAsks>
void MultiplyTile(const QuantisedProduct& p, int64_t row, int64_t column, Slice& slice,
                  float* sums) {
  constexpr int64_t kGroup = GroupOf(kFormat);
  constexpr int64_t kStep = kPanelColumns * 4;  // bytes
  const DF df;
  const DI di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const int64_t stride = p.groups * kGroup;
  VF total[R][NV];
  for (int64_t r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) {
      total[r][v] =
          slice.first ? hn::Zero(df) : hn::Load(df, sums + r * kPanelColumns + column + v * lanes);
    }
  }
  for (int64_t g = slice.begin; g < slice.end; ++g) {
    const uint8_t* const group = p.panel + g * GroupBytes(kFormat);
    const int8_t* const numbers = p.numbers + row * stride + g * kGroup;
    const ActivationScale* const scales = p.scales + row * p.groups + g;
    VI sum[R][NV];
    for (int64_t r = 0; r < R; ++r) {
      const VI correction = hn::Set(di, scales[r * p.groups].correction);
      for (int v = 0; v < NV; ++v) sum[r][v] = correction;
    }
    const uint8_t* from = group + column * 4;
    for (int64_t step = 0; step < NumberBytes(kFormat) / kStep; ++step, from += kStep) {
      if (kAsks) Ask(slice);
      Weights w[NV];
      if constexpr (kFormat == WeightFormat::kI8) {
        for (int v = 0; v < NV; ++v) {
          w[v] =
              PrepareWeights(hn::Load(di, reinterpret_cast<const int32_t*>(from + v * lanes * 4)));
        }
        AddQuad<R, NV>(w, numbers + step * 4, stride, sum);
      } else {
        const VI low = hn::Set(di, 0x0F0F0F0F);
        VI both[NV];
        for (int v = 0; v < NV; ++v) {
          both[v] = hn::Load(di, reinterpret_cast<const int32_t*>(from + v * lanes * 4));
          w[v] = PrepareWeights(hn::And(both[v], low));
        }
        AddQuad<R, NV>(w, numbers + step * 8, stride, sum);
        for (int v = 0; v < NV; ++v) {
          w[v] = PrepareWeights(hn::And(hn::ShiftRight<4>(both[v]), low));
        }
        AddQuad<R, NV>(w, numbers + step * 8 + 4, stride, sum);
      }
    }
    VF weight_scales[NV];
    LoadScales<kFormat, NV>(group + NumberBytes(kFormat), column, weight_scales);
    for (int64_t r = 0; r < R; ++r) {
      const VF scale = hn::Set(df, scales[r * p.groups].scale);
      for (int v = 0; v < NV; ++v) {
        total[r][v] =
            hn::MulAdd(hn::ConvertTo(df, sum[r][v]), hn::Mul(weight_scales[v], scale), total[r][v]);
      }
    }
  }
  for (int64_t r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) {
      hn::Store(total[r][v], df, sums + r * kPanelColumns + column + v * lanes);
    }
  }
}

// Fewer rows than kMostRows / 2 take more columns at a time.
constexpr int VectorsFor(int64_t rows) {
  return rows <= kMostRows / 2 ? kVectorsForFew : kVectorsForMany;
}

template <WeightFormat kFormat, int64_t R, bool kAsks>
void MultiplyRows(const QuantisedProduct& p, int64_t row, Slice& slice, float* sums) {
  constexpr int kVectors = VectorsFor(R);
  const int64_t step = kVectors * static_cast<int64_t>(hn::Lanes(DF()));
  for (int64_t column = 0; column < p.columns; column += step) {
    MultiplyTile<kFormat, R, kVectors, kAsks>(p, row, column, slice, sums);
  }
}

template <WeightFormat kFormat, bool kAsks>
void MultiplySomeRows(const QuantisedProduct& p, int64_t row, int64_t rows, Slice& slice,
                      float* sums) {
  switch (rows) {
    case 1:
      return MultiplyRows<kFormat, 1, kAsks>(p, row, slice, sums);
#if LONGLEAF_MANY_REGISTERS
    case 2:
      return MultiplyRows<kFormat, 2, kAsks>(p, row, slice, sums);
    case 3:
      return MultiplyRows<kFormat, 3, kAsks>(p, row, slice, sums);
    case 4:
      return MultiplyRows<kFormat, 4, kAsks>(p, row, slice, sums);
    case 5:
      return MultiplyRows<kFormat, 5, kAsks>(p, row, slice, sums);
#endif
    default:
      return MultiplyRows<kFormat, kMostRows, kAsks>(p, row, slice, sums);
  }
}

void WriteRows(const QuantisedProduct& p, int64_t row, int64_t rows, const float* sums) {
  const DF df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  for (int64_t r = 0; r < rows; ++r, sums += kPanelColumns) {
    float* to = p.out + (row + r) * p.out_stride;
    if (!p.add) {
      std::copy_n(sums, p.columns, to);
      continue;
    }
    int64_t c = 0;
    for (; c + lanes <= p.columns; c += lanes) {
      hn::StoreU(hn::Add(hn::LoadU(df, to + c), hn::Load(df, sums + c)), df, to + c);
    }
    for (; c < p.columns; ++c) to[c] += sums[c];
  }
}

// Rows row .. row + rows - 1, at most kMostRowsInSlices.
template <WeightFormat kFormat>
void MultiplyBlock(const QuantisedProduct& p, int64_t row, int64_t rows) {
  HWY_ALIGN float sums[kMostRowsInSlices * kPanelColumns];
  // Passes of even height, so that none reads the panel for one row.
  const int64_t heights = (rows + kMostRows - 1) / kMostRows;
  const int64_t columns = VectorsFor(rows / heights) * static_cast<int64_t>(hn::Lanes(DF()));
  const int64_t passes = heights * ((p.columns + columns - 1) / columns);
  const bool straight = passes == 1 || p.reread;
  const int64_t groups = straight ? p.groups : kSliceDepth / GroupOf(kFormat);
  const uint8_t* const panel_end = p.panel + p.groups * GroupBytes(kFormat);
  for (int64_t begin = 0; begin < p.groups; begin += groups) {
    Slice slice;
    slice.begin = begin;
    slice.end = std::min(begin + groups, p.groups);
    slice.first = begin == 0;
    const uint8_t* const next = p.panel + slice.end * GroupBytes(kFormat);
    if (passes == 1) {
      slice.ahead = p.panel + kAheadBytes;
      slice.ahead_end = panel_end + kAheadBytes;
    } else {
      slice.ahead = next;
      slice.ahead_end = std::min(next + groups * GroupBytes(kFormat), panel_end);
    }
    const int64_t lines = (slice.end - slice.begin) * GroupBytes(kFormat) / 64;
    const int64_t steps =
        passes * (slice.end - slice.begin) * NumberBytes(kFormat) / (kPanelColumns * 4);
    slice.lines_per_step = (lines + steps - 1) / steps;
    for (int64_t h = 0; h < heights; ++h) {
      const int64_t from = rows * h / heights, to = rows * (h + 1) / heights;
      p.reread ? MultiplySomeRows<kFormat, false>(p, row + from, to - from, slice,
                                                  sums + from * kPanelColumns)
               : MultiplySomeRows<kFormat, true>(p, row + from, to - from, slice,
                                                 sums + from * kPanelColumns);
    }
  }
  WriteRows(p, row, rows, sums);
}

template <WeightFormat kFormat>
void MultiplyAll(const QuantisedProduct& p) {
  const int64_t blocks = (p.rows + kMostRowsInSlices - 1) / kMostRowsInSlices;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t row = p.rows * b / blocks;
    MultiplyBlock<kFormat>(p, row, p.rows * (b + 1) / blocks - row);
  }
}

void Multiply(const QuantisedProduct& p) {
  p.format == WeightFormat::kI8 ? MultiplyAll<WeightFormat::kI8>(p)
                                : MultiplyAll<WeightFormat::kI4>(p);
}

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(Multiply);

void MultiplyQuantisedPanel(const QuantisedProduct& product) {
  HWY_DYNAMIC_DISPATCH(Multiply)(product);
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
