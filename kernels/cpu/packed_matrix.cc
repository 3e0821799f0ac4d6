// Packing of weight files into panels.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/packed_matmul.h"
#include "kernels/cpu/panels.h"
#include "kernels/cpu/quantised_panels.h"

namespace longleaf::kernels {
namespace {

// Row `row` of the vertical concatenation of `parts`.
std::pair<const void*, DType> RowOf(absl::Span<const WeightView> parts, int64_t row) {
  size_t part = 0;
  while (row >= parts[part].rows) row -= parts[part++].rows;
  const WeightView& view = parts[part];
  return {static_cast<const char*>(view.data) + row * view.cols * SizeOf(view.type), view.type};
}

int64_t PanelBytes(const MatrixShape& shape) {
  const int64_t numbers = PaddedDepth(shape.in_features) * kPanelColumns;
  switch (shape.format) {
    case WeightFormat::kF32:
      return numbers * int64_t{sizeof(float)};
    case WeightFormat::kBF16:
      return numbers * int64_t{sizeof(uint16_t)};
    default:
      return QuantisedPanelBytes(shape.format, shape.in_features);
  }
}

}  // namespace

PackedMatrix::PackedMatrix(const MatrixShape& shape, AlignedBytes own, const std::byte* panels,
                           std::shared_ptr<const void> owner, int64_t* weight_bytes)
    : shape_(shape),
      own_(std::move(own)),
      owner_(std::move(owner)),
      panels_(panels),
      weight_bytes_(weight_bytes) {
  *weight_bytes_ += bytes();
}

int64_t PackedMatrix::BytesOf(const MatrixShape& shape) {
  const int64_t halves = shape.epilogue == Epilogue::kSiluGate ? 2 : 1;
  return halves * PanelsFor(shape.out_features / halves) * PanelBytes(shape);
}

const std::byte* PackedMatrix::panel(int64_t half, int64_t index) const {
  return panels_ + (half * PanelsFor(width()) + index) * PanelBytes(shape_);
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> PackedMatrix::Pack(absl::Span<const WeightView> parts,
                                                                 Epilogue epilogue,
                                                                 WeightFormat format,
                                                                 ThreadPool& pool,
                                                                 int64_t* weight_bytes) {
  MatrixShape shape{0, parts[0].cols, epilogue, format};
  for (const WeightView& part : parts) shape.out_features += part.rows;
  const int64_t halves = epilogue == Epilogue::kSiluGate ? 2 : 1;
  const int64_t width = shape.out_features / halves;
  const int64_t panels = PanelsFor(width);
  AlignedBytes data = AllocateBytes(BytesOf(shape));
  if (data == nullptr) return absl::ResourceExhaustedError("no memory for a weight matrix");
  pool.ParallelFor(halves * panels, [&](int64_t task, int64_t) {
    const int64_t first = task % panels * kPanelColumns;
    PanelSource source;
    source.in_features = shape.in_features;
    source.columns = std::min(kPanelColumns, width - first);
    for (int64_t n = 0; n < source.columns; ++n) {
      const auto [row, type] = RowOf(parts, task / panels * width + first + n);
      source.rows[n] = row;
      source.types[n] = type;
    }
    std::byte* const to = data.get() + task * PanelBytes(shape);
    if (format == WeightFormat::kF32) {
      PackPanel(source, reinterpret_cast<float*>(to));
    } else if (format == WeightFormat::kBF16) {
      PackPanel(source, reinterpret_cast<uint16_t*>(to));
    } else {
      PackQuantisedPanel(source, format, reinterpret_cast<uint8_t*>(to));
    }
  });
  const std::byte* const bytes = data.get();
  return std::unique_ptr<PackedMatrix>(
      new PackedMatrix(shape, std::move(data), bytes, nullptr, weight_bytes));
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> PackedMatrix::Adopt(
    const MatrixShape& shape, absl::Span<const std::byte> packed, std::shared_ptr<const void> owner,
    int64_t* weight_bytes) {
  if (static_cast<int64_t>(packed.size()) != BytesOf(shape)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a packed matrix of ", BytesOf(shape), " bytes, given ", packed.size()));
  }
  if (reinterpret_cast<uintptr_t>(packed.data()) % 64 != 0) {
    return absl::InvalidArgumentError("a packed matrix that is not aligned to 64 bytes");
  }
  return std::unique_ptr<PackedMatrix>(
      new PackedMatrix(shape, nullptr, packed.data(), std::move(owner), weight_bytes));
}

}  // namespace longleaf::kernels
