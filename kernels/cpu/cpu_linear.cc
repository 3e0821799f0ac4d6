#include "kernels/cpu/cpu_linear.h"

#include <algorithm>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/panels.h"
#include "kernels/quantised.h"

namespace longleaf::kernels {
namespace {

bool IsQuantised(const PackedMatrix& weight) { return GroupOf(weight.shape().format) != 0; }

absl::Status NoScratch() {
  return absl::ResourceExhaustedError("no scratch memory for a matrix product");
}

}  // namespace

Tensor CpuLinear::Scratch::Take(int64_t rows, int64_t cols) {
  if (rows * cols > floats_) {
    data_ = AllocateFloats(rows * cols);
    floats_ = data_ == nullptr ? 0 : rows * cols;
  }
  return {data_.get(), rows, cols};
}

Tensor CpuLinear::ToOperand(const Tensor& in, const RmsNorm& norm, WeightFormat format) {
  const bool normed = norm.weight.data != nullptr, rounded = format == WeightFormat::kBF16;
  if (!normed && !rounded) return in;
  const Tensor to = operand_.Take(in.rows, in.cols);
  if (to.data == nullptr) return to;
  constexpr int64_t kRows = 8;  // per task
  pool_->ParallelFor((in.rows + kRows - 1) / kRows, [&](int64_t task, int64_t) {
    for (int64_t r = task * kRows; r < std::min(in.rows, (task + 1) * kRows); ++r) {
      const float* const from = in.data + r * in.cols;
      float* const row = to.data + r * in.cols;
      if (normed) {
        NormRow(from, norm.weight.data, norm.epsilon, in.cols, row);
      } else {
        std::copy_n(from, in.cols, row);
      }
      if (rounded) RoundToBF16(row, in.cols);
    }
  });
  return to;
}

absl::Status CpuLinear::Linear(const PackedMatrix& weight, const Tensor& in, const RmsNorm& norm,
                               Tensor out) {
  if (in.rows == 0) return absl::OkStatus();
  if (IsQuantised(weight)) return quantised_.Linear(weight, in, norm, out, /*add=*/false);
  const Tensor operand = ToOperand(in, norm, weight.shape().format);
  if (operand.data == nullptr) return NoScratch();
  return matmul_.Run(weight, operand, out, /*add=*/false);
}

absl::Status CpuLinear::AddLinear(const PackedMatrix& weight, const Tensor& in, Tensor x) {
  if (in.rows == 0) return absl::OkStatus();
  if (IsQuantised(weight)) return quantised_.Linear(weight, in, {}, x, /*add=*/true);
  const Tensor operand = ToOperand(in, {}, weight.shape().format);
  if (operand.data == nullptr) return NoScratch();
  return matmul_.Run(weight, operand, x, /*add=*/true);
}

absl::Status CpuLinear::FeedForward(Tensor x, const RmsNorm& norm, const PackedMatrix& gate_up,
                                    const PackedMatrix& down) {
  if (x.rows == 0) return absl::OkStatus();
  if (IsQuantised(down)) return quantised_.FeedForward(x, norm, gate_up, down);
  const Tensor gated = gated_.Take(x.rows, down.in_features());
  if (gated.data == nullptr) return NoScratch();
  const absl::Status status = Linear(gate_up, x, norm, gated);
  return status.ok() ? AddLinear(down, gated, x) : status;
}

}  // namespace longleaf::kernels
