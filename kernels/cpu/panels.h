// The layout of packed weights, and the matrix product for few rows over it.
//
// A weight matrix W [N, K] is cut into panels of kPanelColumns output features; a panel is
// [padded K, kPanelColumns], so a product over one panel streams memory once, in order, whatever
// the number of rows. It is also what oneDNN calls BA16a64b, the layout that it picks itself, so
// that weights are stored once for both.
//
// In bf16 a panel is [padded K / 2, kPanelColumns, 2]: the numbers of two consecutive inputs lie
// side by side, so that one shift and one mask make two vectors of f32 of what one load brought.
#ifndef LONGLEAF_KERNELS_CPU_PANELS_H_
#define LONGLEAF_KERNELS_CPU_PANELS_H_

#include <cstdint>

#include "kernels/backend.h"

namespace longleaf::kernels {

inline constexpr int64_t kPanelColumns = 64;
inline constexpr int64_t kPanelDepth = 16;  // K is padded to a multiple of this, with zeros

constexpr int64_t PanelsFor(int64_t out_features) {
  return (out_features + kPanelColumns - 1) / kPanelColumns;
}
constexpr int64_t PaddedDepth(int64_t in_features) {
  return (in_features + kPanelDepth - 1) / kPanelDepth * kPanelDepth;
}

// Where PackPanel takes its columns from: rows of weight files, in order.
struct PanelSource {
  const void* rows[kPanelColumns];  // each [in_features] elements of `types`, possibly unaligned
  DType types[kPanelColumns];
  int64_t columns = 0;  // 1..kPanelColumns; the others become zeros
  int64_t in_features = 0;
};
// panel: [PaddedDepth(in_features), kPanelColumns]
void PackPanel(const PanelSource& source, float* panel);
// panel: [PaddedDepth(in_features) / 2, kPanelColumns, 2], rounded to the nearest, ties to even
void PackPanel(const PanelSource& source, uint16_t* panel);
// The same panel in f32, for products of many rows. depth is padded.
void ExpandPanel(const uint16_t* panel, int64_t depth, float* to);  // to [depth, kPanelColumns]

// x[i] to the nearest bf16, ties to even, in place.
void RoundToBF16(float* x, int64_t count);

// out[r, 0..columns-1] = sum over k of in[r, k] * panel[k, :], k in rising order for every row, so
// that a row's result does not depend on the other rows.
struct PanelProduct {
  const float* panel = nullptr;          // [PaddedDepth(depth), kPanelColumns], or
  const uint16_t* bf16_panel = nullptr;  // [PaddedDepth(depth) / 2, kPanelColumns, 2]
  int64_t depth = 0;
  int64_t columns = 0;        // 1..kPanelColumns
  const float* in = nullptr;  // [rows, in_stride], the first `depth` of each
  int64_t in_stride = 0;
  float* out = nullptr;  // [rows, out_stride]
  int64_t out_stride = 0;
  int64_t rows = 0;
  bool add = false;  // out += instead of out =
  // The panel is read for other rows just before or after, so it comes from the second-level cache.
  // Changes the speed alone.
  bool reread = false;
};
void MultiplyPanel(const PanelProduct& product);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_PANELS_H_
