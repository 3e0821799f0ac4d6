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

}  // namespace

QuantisedMatmul::QuantisedMatmul(ThreadPool* pool)
    : pool_(pool), up_(static_cast<size_t>(pool->threads())) {}

bool QuantisedMatmul::Reserve(int64_t rows, WeightFormat format, int64_t in_features) {
  const int64_t groups = GroupsOf(format, in_features);
  const auto grow = [](int64_t bytes, AlignedBytes& memory, int64_t& held) {
    if (bytes <= held) return true;
    memory = AllocateBytes(bytes);
    held = memory == nullptr ? 0 : bytes;
    return memory != nullptr;
  };
  return grow(rows * groups * GroupOf(format), numbers_, number_bytes_) &&
         grow(rows * groups * int64_t{sizeof(ActivationScale)}, scales_, scale_bytes_);
}

void QuantisedMatmul::Quantise(WeightFormat format, const Tensor& in) {
  constexpr int64_t kRows = 8;  // per task
  const int64_t groups = GroupsOf(format, in.cols);
  auto* const numbers = reinterpret_cast<int8_t*>(numbers_.get());
  auto* const scales = reinterpret_cast<ActivationScale*>(scales_.get());
  pool_->ParallelFor((in.rows + kRows - 1) / kRows, [&](int64_t task, int64_t) {
    for (int64_t r = task * kRows; r < std::min(in.rows, (task + 1) * kRows); ++r) {
      QuantiseActivations(format, in.data + r * in.cols, in.cols,
                          numbers + r * groups * GroupOf(format), scales + r * groups);
    }
  });
}

absl::Status QuantisedMatmul::Run(const PackedMatrix& weight, const Tensor& in, Tensor out,
                                  bool add) {
  if (in.rows == 0) return absl::OkStatus();
  const WeightFormat format = weight.shape().format;
  const bool gate = weight.halves() == 2;
  bool fits = Reserve(in.rows, format, in.cols);
  for (AlignedFloats& up : up_) {
    if (gate && up == nullptr) up = AllocateFloats(kGateRows * kPanelColumns);
    fits = fits && (!gate || up != nullptr);
  }
  if (!fits) return absl::ResourceExhaustedError("no scratch memory for a matrix product");
  Quantise(format, in);

  const int64_t panels = PanelsFor(weight.width());
  const int64_t blocks = RowBlocks(in.rows, panels, pool_->threads());
  pool_->ParallelFor(panels * blocks, [&](int64_t task, int64_t thread) {
    // Blocks of rows innermost: threads that share a panel read it from memory once.
    const int64_t index = task / blocks, block = task % blocks;
    const int64_t end = in.rows * (block + 1) / blocks;
    const int64_t column = index * kPanelColumns;
    QuantisedProduct p;
    p.format = format;
    p.add = add;
    p.reread = in.rows > kFewRows;
    p.groups = GroupsOf(format, in.cols);
    p.columns = std::min(kPanelColumns, weight.width() - column);
    for (int64_t row = in.rows * block / blocks; row < end; row += p.rows) {
      p.rows = std::min(gate ? kGateRows : end, end - row);
      p.numbers =
          reinterpret_cast<const int8_t*>(numbers_.get()) + row * p.groups * GroupOf(format);
      p.scales = reinterpret_cast<const ActivationScale*>(scales_.get()) + row * p.groups;
      p.panel = reinterpret_cast<const uint8_t*>(weight.panel(0, index));
      p.out = out.data + row * out.cols + column;
      p.out_stride = out.cols;
      MultiplyQuantisedPanel(p);
      if (!gate) continue;
      float* const gates = p.out;
      p.panel = reinterpret_cast<const uint8_t*>(weight.panel(1, index));
      p.out = up_[static_cast<size_t>(thread)].get();
      p.out_stride = kPanelColumns;
      MultiplyQuantisedPanel(p);
      for (int64_t r = 0; r < p.rows; ++r) {
        SiluGate(gates + r * out.cols, p.out + r * kPanelColumns, p.columns);
      }
    }
  });
  return absl::OkStatus();
}

}  // namespace longleaf::kernels
