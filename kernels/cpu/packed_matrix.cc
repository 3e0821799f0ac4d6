// Packing of weight files into panels.
#include <algorithm>
#include <utility>

#include "kernels/cpu/packed_matmul.h"
#include "kernels/cpu/panels.h"

namespace longleaf::kernels {
namespace {

// Row `row` of the vertical concatenation of `parts`.
std::pair<const void*, DType> RowOf(absl::Span<const WeightView> parts, int64_t row) {
  size_t part = 0;
  while (row >= parts[part].rows) row -= parts[part++].rows;
  const WeightView& view = parts[part];
  return {static_cast<const char*>(view.data) + row * view.cols * SizeOf(view.type), view.type};
}

}  // namespace

PackedMatrix::PackedMatrix(AlignedFloats panels, Epilogue epilogue, int64_t width, int64_t depth,
                           int64_t* weight_bytes)
    : panels_(std::move(panels)),
      epilogue_(epilogue),
      width_(width),
      depth_(depth),
      weight_bytes_(weight_bytes) {
  *weight_bytes_ += bytes();
}

int64_t PackedMatrix::bytes() const {
  return halves() * PanelsFor(width_) * PaddedDepth(depth_) * kPanelColumns *
         int64_t{sizeof(float)};
}

const float* PackedMatrix::panel(int64_t half, int64_t index) const {
  return panels_.get() + (half * PanelsFor(width_) + index) * PaddedDepth(depth_) * kPanelColumns;
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> PackedMatrix::Pack(absl::Span<const WeightView> parts,
                                                                 Epilogue epilogue,
                                                                 ThreadPool& pool,
                                                                 int64_t* weight_bytes) {
  int64_t rows = 0;
  for (const WeightView& part : parts) rows += part.rows;
  const int64_t depth = parts[0].cols;
  const int64_t halves = epilogue == Epilogue::kSiluGate ? 2 : 1;
  const int64_t width = rows / halves;
  const int64_t panels = PanelsFor(width);
  const int64_t panel_floats = PaddedDepth(depth) * kPanelColumns;
  AlignedFloats data = AllocateFloats(halves * panels * panel_floats);
  if (data == nullptr) return absl::ResourceExhaustedError("no memory for a weight matrix");
  pool.ParallelFor(halves * panels, [&](int64_t task, int64_t) {
    const int64_t first = task % panels * kPanelColumns;
    PanelSource source;
    source.in_features = depth;
    source.columns = std::min(kPanelColumns, width - first);
    for (int64_t n = 0; n < source.columns; ++n) {
      const auto [row, type] = RowOf(parts, task / panels * width + first + n);
      source.rows[n] = row;
      source.types[n] = type;
    }
    PackPanel(source, data.get() + task * panel_floats);
  });
  return std::unique_ptr<PackedMatrix>(
      new PackedMatrix(std::move(data), epilogue, width, depth, weight_bytes));
}

}  // namespace longleaf::kernels
