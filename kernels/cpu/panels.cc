// Packing of weight panels and the product of few rows with a panel (Highway, dispatched at run
// time). For one row this runs at the speed of memory; for many rows oneDNN is faster.
#include "kernels/cpu/panels.h"

#include <algorithm>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/panels.cc"
#include "hwy/foreach_target.h"

#include "hwy/highway.h"

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
constexpr int64_t kSliceDepth = 64;
constexpr int64_t kAhead = 32;

constexpr int64_t kMostRows = 48;  // whose sums are kept between slices

// One slice of a panel.
struct Slice {
  const float* panel;  // [depth, kPanelColumns]
  int64_t depth;
  bool first;              // sums start at zero
  const float* ahead;      // what to ask for meanwhile,
  int64_t lines_per_step;  // so many cache lines at each step of depth: 0, 1, 2 or 4
};

template <int64_t kRows, bool kAsks>
HWY_ATTR void MultiplyRows(const Slice& slice, const float* in, int64_t in_stride,
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
    const float* w = slice.panel + column;
    const float* ahead = slice.ahead;
    const int64_t lines = kAsks && column == 0 ? slice.lines_per_step : 0;
    for (int64_t k = 0; k < slice.depth; ++k, w += kPanelColumns, ahead += lines * 16) {
      if (kAsks && lines > 0) __builtin_prefetch(ahead);
      if (kAsks && lines > 1) __builtin_prefetch(ahead + 16);
      if (kAsks && lines > 2) {
        __builtin_prefetch(ahead + 32);
        __builtin_prefetch(ahead + 48);
      }
      const auto w0 = hn::Load(d, w);
      const auto w1 = hn::Load(d, w + lanes);
      const auto w2 = hn::Load(d, w + 2 * lanes);
      const auto w3 = hn::Load(d, w + 3 * lanes);
      for (int64_t r = 0; r < kRows; ++r) {
        const auto x = hn::Set(d, in[r * in_stride + k]);
        sum0[r] = hn::MulAdd(x, w0, sum0[r]);
        sum1[r] = hn::MulAdd(x, w1, sum1[r]);
        sum2[r] = hn::MulAdd(x, w2, sum2[r]);
        sum3[r] = hn::MulAdd(x, w3, sum3[r]);
      }
    }
    for (int64_t r = 0; r < kRows; ++r) {
      float* to = at + r * kPanelColumns;
      hn::Store(sum0[r], d, to);
      hn::Store(sum1[r], d, to + lanes);
      hn::Store(sum2[r], d, to + 2 * lanes);
      hn::Store(sum3[r], d, to + 3 * lanes);
    }
  }
}

template <bool kAsks>
HWY_ATTR void MultiplySomeRows(int64_t rows, const Slice& slice, const float* in, int64_t in_stride,
                               int64_t columns, float* sums) {
  switch (rows) {
    case 1:
      return MultiplyRows<1, kAsks>(slice, in, in_stride, columns, sums);
    case 2:
      return MultiplyRows<2, kAsks>(slice, in, in_stride, columns, sums);
    case 3:
      return MultiplyRows<3, kAsks>(slice, in, in_stride, columns, sums);
    case 4:
      return MultiplyRows<4, kAsks>(slice, in, in_stride, columns, sums);
    case 5:
      return MultiplyRows<5, kAsks>(slice, in, in_stride, columns, sums);
    default:
      return MultiplyRows<6, kAsks>(slice, in, in_stride, columns, sums);
  }
}

// At most kMostRows rows.
HWY_ATTR void MultiplyBlock(const PanelProduct& p, int64_t first_row, int64_t rows) {
  HWY_ALIGN float sums[kMostRows * kPanelColumns];
  const float* in = p.in + first_row * p.in_stride;
  // Groups of even height, so that none reads the panel for one row; never three, between which the
  // four lines of a step cannot be spread evenly (measured: four smaller groups are 5% faster).
  const int64_t fewest = (rows + kRowsPerPass - 1) / kRowsPerPass;
  const int64_t groups = fewest == 3 ? 4 : fewest;
  const int64_t step = groups == 1 || p.reread ? p.depth : kSliceDepth;
  for (int64_t k = 0; k < p.depth; k += step) {
    Slice slice;
    slice.panel = p.panel + k * kPanelColumns;
    slice.depth = std::min(step, p.depth - k);
    slice.first = k == 0;
    slice.lines_per_step = p.reread ? 0 : groups == 1 ? 4 : groups < 4 ? 2 : 1;
    slice.ahead = slice.panel + (groups == 1 ? kAhead : step) * kPanelColumns;
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t begin = rows * g / groups, end = rows * (g + 1) / groups;
      (slice.lines_per_step > 0
           ? MultiplySomeRows<true>
           : MultiplySomeRows<false>)(end - begin, slice, in + begin * p.in_stride + k, p.in_stride,
                                      p.columns, sums + begin * kPanelColumns);
      // The next slice is 4 lines a step in all.
      slice.ahead += slice.lines_per_step * slice.depth * 16;
      if (slice.ahead >= slice.panel + 2 * step * kPanelColumns) slice.lines_per_step = 0;
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
    MultiplyBlock(p, row, std::min(kMostRows, p.rows - row));
  }
}

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(MultiplyPanelRows);

void MultiplyPanel(const PanelProduct& product) {
  HWY_DYNAMIC_DISPATCH(MultiplyPanelRows)(product);
}

void PackPanel(const PanelSource& source, float* panel) {
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
        std::fill(row + filled, row + depth, 0.0f);
      } else {
        std::fill(row, row + depth, 0.0f);
      }
    }
    for (int64_t i = 0; i < depth; ++i) {
      float* to = panel + (k + i) * kPanelColumns;
      for (int64_t n = 0; n < kPanelColumns; ++n) to[n] = tile[n * kStride + i];
    }
  }
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
