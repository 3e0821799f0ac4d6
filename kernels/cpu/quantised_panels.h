// Quantised weights (quantised.h) in panels, and their product with quantised activations.
//
// As in panels.h a panel is kPanelColumns output features, read once from front to back. It is a
// sequence of groups, each with its numbers and then its scales:
//   kI8  numbers [group / 4, kPanelColumns, 4] uint8, the weight + 128; scales [kPanelColumns] f32
//   kI4  numbers [group / 8, kPanelColumns, 4] bytes, inputs 8i + j in the low four bits and
//        8i + 4 + j in the high ones, j = 0 .. 3; scales [kPanelColumns] bfloat16
// Four inputs of an output lie side by side for the processors' dot products of bytes.
#ifndef LONGLEAF_KERNELS_CPU_QUANTISED_PANELS_H_
#define LONGLEAF_KERNELS_CPU_QUANTISED_PANELS_H_

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/panels.h"
#include "kernels/quantised.h"

namespace longleaf::kernels {

// Bytes of one group of a panel, kI8 or kI4: of its numbers, and with its scales. Multiples of 64.
constexpr int64_t NumberBytes(WeightFormat format) {
  return GroupOf(format) * kPanelColumns / (format == WeightFormat::kI8 ? 1 : 2);
}
constexpr int64_t GroupBytes(WeightFormat format) {
  return NumberBytes(format) + kPanelColumns * (format == WeightFormat::kI8 ? 4 : 2);
}
constexpr int64_t QuantisedPanelBytes(WeightFormat format, int64_t in_features) {
  return GroupsOf(format, in_features) * GroupBytes(format);
}

// panel: QuantisedPanelBytes bytes.
void PackQuantisedPanel(const PanelSource& source, WeightFormat format, uint8_t* panel);

// A row of activations is groups * group bytes and, for each group, its scale and what takes the
// weights' offset out of the integer sum: -offset * (sum of the group's numbers).
struct ActivationScale {
  float scale;
  int32_t correction;
};
// in [in_features] -> numbers [groups * group], zero beyond in_features; scales [groups].
void QuantiseActivations(WeightFormat format, const float* in, int64_t in_features, int8_t* numbers,
                         ActivationScale* scales);

// out[r, 0 .. columns - 1] = (or +=, with `add`) the product of row r with the panel. A row's
// result does not depend on the other rows.
struct QuantisedProduct {
  WeightFormat format = WeightFormat::kI8;
  const uint8_t* panel = nullptr;
  int64_t groups = 0;
  int64_t columns = 0;                      // 1..kPanelColumns
  const int8_t* numbers = nullptr;          // [rows, groups * group]
  const ActivationScale* scales = nullptr;  // [rows, groups]
  int64_t rows = 0;
  float* out = nullptr;  // [rows, out_stride]
  int64_t out_stride = 0;
  bool add = false;
  // The panel is read for other rows just before or after, so it comes from the second-level cache.
  // Changes the speed alone.
  bool reread = false;
};
void MultiplyQuantisedPanel(const QuantisedProduct& product);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_QUANTISED_PANELS_H_
