#include "kernels/cpu/quantised_matmul.h"

#include <algorithm>

#include "kernels/cpu/elementwise.h"

namespace longleaf::kernels {
namespace {

// Rows of a SiLU gate that are multiplied before both halves are joined, while they are in the
// first cache.
constexpr int64_t kGateRows = 48;
// Up to here weights come from memory while they are multiplied; more rows find most of a panel in
// the second cache.
constexpr int64_t kFewRows = 64;
// A thread takes a panel for so many rows at least, where there are enough: fewer, and reading the
// panel from the second cache shows.
constexpr int64_t kFewestRows = 48;
// Tasks for each thread, so that all end at about the same time.
constexpr int64_t kTasksPerThread = 6;

int64_t RowBlocks(int64_t rows, int64_t panels, int64_t threads) {
  const int64_t wanted = (threads * kTasksPerThread + panels - 1) / panels;
  return std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, rows / kFewestRows));
}

template <typename Memory>
bool Grow(int64_t wanted, Memory (*allocate)(int64_t), Memory& memory, int64_t& held) {
  if (wanted <= held) return true;
  memory = allocate(wanted);
  held = memory == nullptr ? 0 : wanted;
  return memory != nullptr;
}

int64_t ColumnsOf(const PackedMatrix& weight, int64_t index) {
  return std::min(kPanelColumns, weight.width() - index * kPanelColumns);
}

// A product of some rows with one panel, but for its result's place.
QuantisedProduct ProductOf(const PackedMatrix& weight, int64_t half, int64_t index,
                           const QuantisedRows& in, int64_t row, int64_t rows) {
  QuantisedProduct p;
  p.format = in.format();
  p.panel = reinterpret_cast<const uint8_t*>(weight.panel(half, index));
  p.groups = in.groups();
  p.columns = ColumnsOf(weight, index);
  p.numbers = in.numbers(row);
  p.scales = in.scales(row);
  p.rows = rows;
  p.reread = in.rows() > kFewRows;
  return p;
}

absl::Status NoScratch() {
  return absl::ResourceExhaustedError("no scratch memory for a matrix product");
}

}  // namespace

bool QuantisedRows::Reserve(int64_t rows, int64_t features, WeightFormat format) {
  rows_ = rows;
  features_ = features;
  format_ = format;
  return Grow(rows * groups() * GroupOf(format), AllocateBytes, numbers_, number_bytes_) &&
         Grow(rows * groups() * int64_t{sizeof(ActivationScale)}, AllocateBytes, scales_,
              scale_bytes_);
}

QuantisedMatmul::QuantisedMatmul(ThreadPool* pool)
    : pool_(pool), scratch_(static_cast<size_t>(pool->threads())) {}

bool QuantisedMatmul::ReserveScratch(int64_t row_floats, bool gate) {
  for (Scratch& s : scratch_) {
    if (!Grow(row_floats, AllocateFloats, s.row, s.row_floats)) return false;
    for (AlignedFloats* half : {&s.gate, &s.up}) {
      if (gate && *half == nullptr) *half = AllocateFloats(kGateRows * kPanelColumns);
      if (gate && *half == nullptr) return false;
    }
  }
  return true;
}

absl::Status QuantisedMatmul::Quantise(const Tensor& in, const RmsNorm& norm, WeightFormat format) {
  const bool normed = norm.weight.data != nullptr;
  if (!input_.Reserve(in.rows, in.cols, format) || !ReserveScratch(normed ? in.cols : 0, false)) {
    return NoScratch();
  }
  constexpr int64_t kRows = 8;  // per task
  pool_->ParallelFor((in.rows + kRows - 1) / kRows, [&](int64_t task, int64_t thread) {
    for (int64_t r = task * kRows; r < std::min(in.rows, (task + 1) * kRows); ++r) {
      const float* x = in.data + r * in.cols;
      if (normed) {
        float* const row = scratch_[static_cast<size_t>(thread)].row.get();
        NormRow(x, norm.weight.data, norm.epsilon, in.cols, row);
        x = row;
      }
      QuantiseActivations(format, x, in.cols, input_.numbers(r), input_.scales(r));
    }
  });
  return absl::OkStatus();
}

template <typename Body>
void QuantisedMatmul::ForPanels(const PackedMatrix& weight, int64_t rows, const Body& body) {
  const int64_t panels = PanelsFor(weight.width());
  const int64_t blocks = RowBlocks(rows, panels, pool_->threads());
  pool_->ParallelFor(panels * blocks, [&](int64_t task, int64_t thread) {
    // Blocks of rows innermost: threads that share a panel read it from memory once.
    const int64_t block = task % blocks;
    const int64_t row = rows * block / blocks;
    body(task / blocks, row, rows * (block + 1) / blocks - row,
         scratch_[static_cast<size_t>(thread)]);
  });
}

void QuantisedMatmul::Multiply(const PackedMatrix& weight, const QuantisedRows& in, Tensor out,
                               bool add) {
  ForPanels(weight, in.rows(), [&](int64_t index, int64_t row, int64_t rows, Scratch&) {
    QuantisedProduct p = ProductOf(weight, 0, index, in, row, rows);
    p.out = out.data + row * out.cols + index * kPanelColumns;
    p.out_stride = out.cols;
    p.add = add;
    MultiplyQuantisedPanel(p);
  });
}

void QuantisedMatmul::MultiplyGate(const PackedMatrix& weight, const QuantisedRows& in,
                                   int64_t index, int64_t row, int64_t rows, Scratch& scratch) {
  for (const int64_t half : {0, 1}) {
    QuantisedProduct p = ProductOf(weight, half, index, in, row, rows);
    p.out = half == 0 ? scratch.gate.get() : scratch.up.get();
    p.out_stride = kPanelColumns;
    MultiplyQuantisedPanel(p);
  }
  const int64_t columns = ColumnsOf(weight, index);
  for (int64_t r = 0; r < rows; ++r) {
    SiluGate(scratch.gate.get() + r * kPanelColumns, scratch.up.get() + r * kPanelColumns, columns);
  }
}

absl::Status QuantisedMatmul::Linear(const PackedMatrix& weight, const Tensor& in,
                                     const RmsNorm& norm, Tensor out, bool add) {
  absl::Status status = Quantise(in, norm, weight.shape().format);
  if (!status.ok()) return status;
  if (weight.halves() == 1) {
    Multiply(weight, input_, out, add);
    return status;
  }
  if (!ReserveScratch(0, true)) return NoScratch();
  ForPanels(weight, in.rows, [&](int64_t index, int64_t row, int64_t rows, Scratch& scratch) {
    for (const int64_t end = row + rows; row < end; row += kGateRows) {
      const int64_t some = std::min(kGateRows, end - row);
      MultiplyGate(weight, input_, index, row, some, scratch);
      for (int64_t r = 0; r < some; ++r) {
        std::copy_n(scratch.gate.get() + r * kPanelColumns, ColumnsOf(weight, index),
                    out.data + (row + r) * out.cols + index * kPanelColumns);
      }
    }
  });
  return status;
}

absl::Status QuantisedMatmul::FeedForward(Tensor x, const RmsNorm& norm,
                                          const PackedMatrix& gate_up, const PackedMatrix& down) {
  // A panel of the gate is whole groups of the next product's input, so its task quantises them.
  static_assert(kPanelColumns % GroupOf(WeightFormat::kI8) == 0 &&
                kPanelColumns % GroupOf(WeightFormat::kI4) == 0);
  const WeightFormat format = down.shape().format;
  absl::Status status = Quantise(x, norm, format);
  if (!status.ok()) return status;
  if (!ReserveScratch(0, true) || !gated_.Reserve(x.rows, down.in_features(), format)) {
    return NoScratch();
  }
  ForPanels(gate_up, x.rows, [&](int64_t index, int64_t row, int64_t rows, Scratch& scratch) {
    const int64_t column = index * kPanelColumns;
    for (const int64_t end = row + rows; row < end; row += kGateRows) {
      const int64_t some = std::min(kGateRows, end - row);
      MultiplyGate(gate_up, input_, index, row, some, scratch);
      for (int64_t r = 0; r < some; ++r) {
        QuantiseActivations(format, scratch.gate.get() + r * kPanelColumns,
                            ColumnsOf(gate_up, index), gated_.numbers(row + r) + column,
                            gated_.scales(row + r) + column / GroupOf(format));
      }
    }
  });
  Multiply(down, gated_, x, /*add=*/true);
  return status;
}

}  // namespace longleaf::kernels
