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

// Rows that share one pass over a panel: with four vectors each they fill the registers.
constexpr int64_t kRowsPerPass = HWY_MAX_BYTES >= 64 ? 6 : 3;

// `kRows` rows, all columns of the panel, four vectors of columns at a time.
template <int64_t kRows>
HWY_ATTR void MultiplyRows(const PanelProduct& p, int64_t first_row) {
  const hn::CappedTag<float, kPanelColumns / 4> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* in = p.in + first_row * p.in_stride;
  float* out = p.out + first_row * p.out_stride;
  for (int64_t column = 0; column < p.columns; column += 4 * lanes) {
    hn::Vec<decltype(d)> sum0[kRows], sum1[kRows], sum2[kRows], sum3[kRows];
    for (int64_t r = 0; r < kRows; ++r) sum0[r] = sum1[r] = sum2[r] = sum3[r] = hn::Zero(d);
    const float* w = p.panel + column;
    for (int64_t k = 0; k < p.depth; ++k, w += kPanelColumns) {
      const auto w0 = hn::Load(d, w);
      const auto w1 = hn::Load(d, w + lanes);
      const auto w2 = hn::Load(d, w + 2 * lanes);
      const auto w3 = hn::Load(d, w + 3 * lanes);
      for (int64_t r = 0; r < kRows; ++r) {
        const auto x = hn::Set(d, in[r * p.in_stride + k]);
        sum0[r] = hn::MulAdd(x, w0, sum0[r]);
        sum1[r] = hn::MulAdd(x, w1, sum1[r]);
        sum2[r] = hn::MulAdd(x, w2, sum2[r]);
        sum3[r] = hn::MulAdd(x, w3, sum3[r]);
      }
    }
    const int64_t count = std::min(4 * lanes, p.columns - column);
    for (int64_t r = 0; r < kRows; ++r) {
      HWY_ALIGN float row[kPanelColumns];
      hn::Store(sum0[r], d, row);
      hn::Store(sum1[r], d, row + lanes);
      hn::Store(sum2[r], d, row + 2 * lanes);
      hn::Store(sum3[r], d, row + 3 * lanes);
      std::copy_n(row, count, out + r * p.out_stride + column);
    }
  }
}

HWY_ATTR void MultiplyPanelRows(const PanelProduct& p) {
  int64_t row = 0;
  while (row < p.rows) {
    // Passes of even height, so that no last pass reads the panel for one row.
    const int64_t left = p.rows - row;
    const int64_t passes = (left + kRowsPerPass - 1) / kRowsPerPass;
    const int64_t rows = (left + passes - 1) / passes;
    switch (rows) {
      case 1:
        MultiplyRows<1>(p, row);
        break;
      case 2:
        MultiplyRows<2>(p, row);
        break;
      case 3:
        MultiplyRows<3>(p, row);
        break;
      case 4:
        MultiplyRows<4>(p, row);
        break;
      case 5:
        MultiplyRows<5>(p, row);
        break;
      default:
        MultiplyRows<6>(p, row);
        break;
    }
    row += rows;
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
