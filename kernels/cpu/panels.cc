// Packing of weight panels and the product of few rows with a panel (Highway, dispatched at run
// time). For one row this runs at the speed of memory; for many rows oneDNN is faster.
#include "kernels/cpu/panels.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <type_traits>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/panels.cc"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"
#include "kernels/cpu/for_each-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows that go through a panel together: with four vectors each they fill the registers.
constexpr int64_t kRowsPerPass = HWY_MAX_BYTES >= 64 ? 6 : 3;

// Several groups of rows take a panel slice by slice, so that the second finds in the first-level
// cache what the first has read, and while they compute they ask for the next slice: memory and
// arithmetic overlap. One group alone reads straight on, and asks this far ahead. Where the panel
// is in the second-level cache anyway, each group reads straight on, and nobody asks for anything
// (512 rows in slices took a fifth longer).
constexpr int64_t kSliceSteps = 64;
constexpr int64_t kAhead = 32;

constexpr int64_t kMostRows = 48;  // whose sums are kept between slices

// A panel is read in steps of 256 bytes: the weights of one input in f32, of two in bf16.
constexpr int64_t kStepBytes = 256;
template <typename Weight>
constexpr int64_t kStepInputs = kStepBytes / kPanelColumns / int64_t{sizeof(Weight)};

// One slice of a panel.
template <typename Weight>
struct Slice {
  const Weight* panel;  // [depth, kPanelColumns], or as panels.h has it
  int64_t depth;
  bool first;              // sums start at zero
  const std::byte* ahead;  // what to ask for meanwhile,
  int64_t lines_per_step;  // so many cache lines at each step: 0, 1, 2 or 4
};

// Weights of input `kInput` of a step, columns of one vector from `at` on.
template <int64_t kInput, class D>
HWY_ATTR hn::Vec<D> LoadWeights(D d, const float* at) {
  static_assert(kInput == 0);
  return hn::Load(d, at);
}
template <int64_t kInput, class D>
HWY_ATTR hn::Vec<D> LoadWeights(D d, const uint16_t* at) {
  const hn::RebindToUnsigned<D> d32;
  const auto pairs = hn::BitCast(d32, hn::Load(hn::Repartition<uint16_t, D>(), at));
  return hn::BitCast(
      d, kInput == 0 ? hn::ShiftLeft<16>(pairs) : hn::And(pairs, hn::Set(d32, 0xffff0000u)));
}

template <typename Weight, int64_t kRows, bool kAsks>
HWY_ATTR void MultiplyRows(const Slice<Weight>& slice, const float* in, int64_t in_stride,
                           int64_t columns,  // 1..kPanelColumns
                           float* sums) {    // [kRows, kPanelColumns]
  const hn::CappedTag<float, kPanelColumns / 4> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t column = 0; column < columns; column += 4 * lanes) {
    hn::Vec<decltype(d)> sum0[kRows], sum1[kRows], sum2[kRows], sum3[kRows];
    float* at = sums + column;
    for (int64_t r = 0; r < kRows; ++r) {
      const float* from = at + r * kPanelColumns;
      sum0[r] = slice.first ? hn::Zero(d) : hn::Load(d, from);
      sum1[r] = slice.first ? hn::Zero(d) : hn::Load(d, from + lanes);
      sum2[r] = slice.first ? hn::Zero(d) : hn::Load(d, from + 2 * lanes);
      sum3[r] = slice.first ? hn::Zero(d) : hn::Load(d, from + 3 * lanes);
    }
    constexpr int64_t kInputs = kStepInputs<Weight>;
    const Weight* w = slice.panel + column * kInputs;
    const std::byte* ahead = slice.ahead;
    const int64_t lines = kAsks && column == 0 ? slice.lines_per_step : 0;
    int64_t k = 0;
    const auto add = [&](auto input) HWY_ATTR {
      constexpr int64_t kInput = decltype(input)::value;
      const auto w0 = LoadWeights<kInput>(d, w);
      const auto w1 = LoadWeights<kInput>(d, w + lanes * kInputs);
      const auto w2 = LoadWeights<kInput>(d, w + 2 * lanes * kInputs);
      const auto w3 = LoadWeights<kInput>(d, w + 3 * lanes * kInputs);
      for (int64_t r = 0; r < kRows; ++r) {
        const auto x = hn::Set(d, in[r * in_stride + k + kInput]);
        sum0[r] = hn::MulAdd(x, w0, sum0[r]);
        sum1[r] = hn::MulAdd(x, w1, sum1[r]);
        sum2[r] = hn::MulAdd(x, w2, sum2[r]);
        sum3[r] = hn::MulAdd(x, w3, sum3[r]);
      }
    };
    for (; k + kInputs <= slice.depth; k += kInputs, w += kPanelColumns * kInputs) {
      if (kAsks && lines > 0) __builtin_prefetch(ahead);
      if (kAsks && lines > 1) __builtin_prefetch(ahead + 64);
      if (kAsks && lines > 2) {
        __builtin_prefetch(ahead + 128);
        __builtin_prefetch(ahead + 192);
      }
      ahead += lines * 64;
      add(std::integral_constant<int64_t, 0>());
      if constexpr (kInputs == 2) add(std::integral_constant<int64_t, 1>());
    }
    if (k < slice.depth) add(std::integral_constant<int64_t, 0>());  // the last of an odd number
    for (int64_t r = 0; r < kRows; ++r) {
      float* to = at + r * kPanelColumns;
      hn::Store(sum0[r], d, to);
      hn::Store(sum1[r], d, to + lanes);
      hn::Store(sum2[r], d, to + 2 * lanes);
      hn::Store(sum3[r], d, to + 3 * lanes);
    }
  }
}

template <typename Weight, bool kAsks>
HWY_ATTR void MultiplySomeRows(int64_t rows, const Slice<Weight>& slice, const float* in,
                               int64_t in_stride, int64_t columns, float* sums) {
  switch (rows) {
    case 1:
      return MultiplyRows<Weight, 1, kAsks>(slice, in, in_stride, columns, sums);
    case 2:
      return MultiplyRows<Weight, 2, kAsks>(slice, in, in_stride, columns, sums);
    case 3:
      return MultiplyRows<Weight, 3, kAsks>(slice, in, in_stride, columns, sums);
    case 4:
      return MultiplyRows<Weight, 4, kAsks>(slice, in, in_stride, columns, sums);
    case 5:
      return MultiplyRows<Weight, 5, kAsks>(slice, in, in_stride, columns, sums);
    default:
      return MultiplyRows<Weight, 6, kAsks>(slice, in, in_stride, columns, sums);
  }
}

// At most kMostRows rows.
template <typename Weight>
HWY_ATTR void MultiplyBlock(const PanelProduct& p, const Weight* panel, int64_t first_row,
                            int64_t rows) {
  HWY_ALIGN float sums[kMostRows * kPanelColumns];
  const float* in = p.in + first_row * p.in_stride;
  // Groups of even height, so that none reads the panel for one row; never three, between which the
  // four lines of a step cannot be spread evenly (measured: four smaller groups are 5% faster).
  const int64_t fewest = (rows + kRowsPerPass - 1) / kRowsPerPass;
  const int64_t groups = fewest == 3 ? 4 : fewest;
  constexpr int64_t kInputs = kStepInputs<Weight>;
  const int64_t steps = groups == 1 || p.reread ? (p.depth + kInputs - 1) / kInputs : kSliceSteps;
  for (int64_t k = 0; k < p.depth; k += steps * kInputs) {
    Slice<Weight> slice;
    slice.panel = panel + k * kPanelColumns;
    slice.depth = std::min(steps * kInputs, p.depth - k);
    slice.first = k == 0;
    slice.lines_per_step = p.reread ? 0 : groups == 1 ? 4 : groups < 4 ? 2 : 1;
    const auto* const begin_of_slice = reinterpret_cast<const std::byte*>(slice.panel);
    const std::byte* const end_of_next = begin_of_slice + 2 * steps * kStepBytes;
    slice.ahead = begin_of_slice + (groups == 1 ? kAhead : steps) * kStepBytes;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t begin = rows * g / groups, end = rows * (g + 1) / groups;
      (slice.lines_per_step > 0
           ? MultiplySomeRows<Weight, true>
           : MultiplySomeRows<Weight, false>)(end - begin, slice, in + begin * p.in_stride + k,
                                              p.in_stride, p.columns, sums + begin * kPanelColumns);
      // The next slice is 4 lines a step in all.
      slice.ahead += slice.lines_per_step * (slice.depth / kInputs) * 64;
      if (slice.ahead >= end_of_next) slice.lines_per_step = 0;
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = sums + r * kPanelColumns;
    float* to = p.out + (first_row + r) * p.out_stride;
    if (!p.add) {
      std::copy_n(from, p.columns, to);
      continue;
    }
    for (int64_t c = 0; c < p.columns; ++c) to[c] += from[c];
  }
}

HWY_ATTR void MultiplyPanelRows(const PanelProduct& p) {
  for (int64_t row = 0; row < p.rows; row += kMostRows) {
    const int64_t rows = std::min(kMostRows, p.rows - row);
    if (p.bf16_panel != nullptr) {
      MultiplyBlock(p, p.bf16_panel, row, rows);
    } else {
      MultiplyBlock(p, p.panel, row, rows);
    }
  }
}

HWY_ATTR void ExpandPairs(const uint16_t* panel, int64_t depth, float* to) {
  const hn::CappedTag<float, kPanelColumns> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = 0; k < depth; k += 2, panel += 2 * kPanelColumns, to += 2 * kPanelColumns) {
    for (int64_t column = 0; column < kPanelColumns; column += lanes) {
      hn::Store(LoadWeights<0>(d, panel + 2 * column), d, to + column);
      hn::Store(LoadWeights<1>(d, panel + 2 * column), d, to + kPanelColumns + column);
    }
  }
}

HWY_ATTR void RoundInPlace(float* x, int64_t count) {
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(d)> d32;
    const auto value = hn::LoadU(d, x + i);
    const auto bits = hn::BitCast(d32, value);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d32, 1u));
    const auto nearest = hn::Add(bits, hn::Add(odd, hn::Set(d32, 0x7fffu)));
    const auto quiet = hn::Or(bits, hn::Set(d32, 0x400000u));
    const auto rounded = hn::IfThenElse(hn::RebindMask(d32, hn::IsNaN(value)), quiet, nearest);
    hn::StoreU(hn::BitCast(d, hn::And(rounded, hn::Set(d32, 0xffff0000u))), d, x + i);
  });
}

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(MultiplyPanelRows);
HWY_EXPORT(ExpandPairs);
HWY_EXPORT(RoundInPlace);

void MultiplyPanel(const PanelProduct& product) {
  HWY_DYNAMIC_DISPATCH(MultiplyPanelRows)(product);
}

namespace {

// Calls store(k, n, value) for every place of a panel, padding included, k in rising order; values
// rounded to bf16 under kRounds.
template <bool kRounds, typename Store>
void ForEachWeight(const PanelSource& source, const Store& store) {
  // Rows are converted piece by piece into a tile that stays in the first cache, then turned.
  constexpr int64_t kPiece = 64;
  constexpr int64_t kStride = kPiece + 16;  // not a power of two: rows spread over cache sets
  float tile[kPanelColumns * kStride];
  for (int64_t k = 0; k < PaddedDepth(source.in_features); k += kPiece) {
    const int64_t depth = std::min(kPiece, PaddedDepth(source.in_features) - k);
    const int64_t filled = std::clamp<int64_t>(source.in_features - k, 0, depth);
    for (int64_t n = 0; n < kPanelColumns; ++n) {
      float* row = tile + n * kStride;
      if (n < source.columns) {
        const char* from = static_cast<const char*>(source.rows[n]) + k * SizeOf(source.types[n]);
        ToFloat(from, source.types[n], filled, row);
        if (kRounds) RoundToBF16(row, filled);
        std::fill(row + filled, row + depth, 0.0f);
      } else {
        std::fill(row, row + depth, 0.0f);
      }
    }
    for (int64_t i = 0; i < depth; ++i) {
      for (int64_t n = 0; n < kPanelColumns; ++n) store(k + i, n, tile[n * kStride + i]);
    }
  }
}

}  // namespace

void PackPanel(const PanelSource& source, float* panel) {
  ForEachWeight<false>(
      source, [panel](int64_t k, int64_t n, float value) { panel[k * kPanelColumns + n] = value; });
}

void PackPanel(const PanelSource& source, uint16_t* panel) {
  ForEachWeight<true>(source, [panel](int64_t k, int64_t n, float value) {
    panel[(k / 2 * kPanelColumns + n) * 2 + k % 2] =
        static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
  });
}

void ExpandPanel(const uint16_t* panel, int64_t depth, float* to) {
  HWY_DYNAMIC_DISPATCH(ExpandPairs)(panel, depth, to);
}

void RoundToBF16(float* x, int64_t count) { HWY_DYNAMIC_DISPATCH(RoundInPlace)(x, count); }

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
