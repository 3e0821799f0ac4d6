#include "kernels/cpu/cpu_linear.h"

#include <algorithm>

#include "kernels/cpu/elementwise.h"

namespace longleaf::kernels {
namespace {

bool IsQuantised(const PackedMatrix& weight) { return weight.shape().format != WeightFormat::kF32; }

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

absl::Status CpuLinear::Linear(const PackedMatrix& weight, const Tensor& in, const RmsNorm& norm,
                               Tensor out) {
  if (in.rows == 0) return absl::OkStatus();
  if (IsQuantised(weight)) return quantised_.Linear(weight, in, norm, out, /*add=*/false);
  if (norm.weight.data == nullptr) return matmul_.Run(weight, in, out, /*add=*/false);
  const Tensor normed = normed_.Take(in.rows, in.cols);
  if (normed.data == nullptr) return NoScratch();
  constexpr int64_t kRows = 8;  // per task
  pool_->ParallelFor((in.rows + kRows - 1) / kRows, [&](int64_t task, int64_t) {
    for (int64_t r = task * kRows; r < std::min(in.rows, (task + 1) * kRows); ++r) {
      NormRow(in.data + r * in.cols, norm.weight.data, norm.epsilon, in.cols,
              normed.data + r * in.cols);
    }
  });
  return matmul_.Run(weight, normed, out, /*add=*/false);
}

absl::Status CpuLinear::AddLinear(const PackedMatrix& weight, const Tensor& in, Tensor x) {
  if (in.rows == 0) return absl::OkStatus();
  return IsQuantised(weight) ? quantised_.Linear(weight, in, {}, x, /*add=*/true)
                             : matmul_.Run(weight, in, x, /*add=*/true);
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
