// The products of a layer in device memory.
#include "kernels/cuda/cuda_linear.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/weight_kernels.h"

namespace longleaf::kernels::cuda {
namespace {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

constexpr int64_t kFloat = sizeof(float);
// cuBLASLt multiplies e4m3 where rows are whole units of 16 bytes.
constexpr int64_t kFP8Multiple = 16;
// The first chips that multiply e4m3, and the ones where the library applies a scale to each row.
constexpr int kFirstFP8 = 89;
constexpr int kRowScales = 90;

RowType RowTypeOf(Operand operand) {
  return operand == Operand::kBF16   ? RowType::kBF16
         : operand == Operand::kE4M3 ? RowType::kFP8
                                     : RowType::kF32;
}

// Of what lies between a SiLU gate's products.
bool WideIsBF16(Operand operand) { return operand != Operand::kF32; }
int64_t WideBytes(Operand operand) { return WideIsBF16(operand) ? 2 : 4; }

Status CheckFormat(const MatrixShape& shape, int compute_capability) {
  const WeightFormat format = shape.format;
  if (format != WeightFormat::kF32 && format != WeightFormat::kBF16 &&
      format != WeightFormat::kFP8) {
    return absl::UnimplementedError(
        absl::StrCat("weights in ", NameOf(format), " on a GPU: it takes f32, bf16 and fp8"));
  }
  if (format != WeightFormat::kFP8) return OkStatus();
  if (compute_capability < kFirstFP8) {
    return absl::UnimplementedError(
        absl::StrCat("weights in fp8 need a GPU of compute capability 8.9; this one has ",
                     compute_capability / 10, ".", compute_capability % 10));
  }
  if (shape.out_features % kFP8Multiple != 0 || shape.in_features % kFP8Multiple != 0) {
    return absl::UnimplementedError(absl::StrCat("weights in fp8 whose sizes are not multiples of ",
                                                 kFP8Multiple, ": [", shape.out_features, ", ",
                                                 shape.in_features, "]"));
  }
  return OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<CudaLinear>> CudaLinear::Create(int compute_capability,
                                                         cudaStream_t stream,
                                                         int64_t* weight_bytes) {
  StatusOr<std::unique_ptr<Cublas>> cublas = Cublas::Create();
  if (!cublas.ok()) return cublas.status();
  return std::unique_ptr<CudaLinear>(
      new CudaLinear(*std::move(cublas), compute_capability, stream, weight_bytes));
}

StatusOr<std::unique_ptr<CudaMatrix>> CudaLinear::Pack(absl::Span<const WeightView> parts,
                                                       Epilogue epilogue, WeightFormat format) {
  MatrixShape shape{0, parts[0].cols, epilogue, format};
  for (const WeightView& part : parts) shape.out_features += part.rows;
  if (Status status = CheckFormat(shape, compute_capability_); !status.ok()) return status;
  StatusOr<std::unique_ptr<CudaMatrix>> matrix = CudaMatrix::Allocate(shape, weight_bytes_);
  if (!matrix.ok()) return matrix.status();
  if (Status status = loader_.Load(parts, **matrix, stream_); !status.ok()) return status;

  const Operand operand = (*matrix)->operand();
  most_input_bytes_ = std::max(most_input_bytes_, shape.in_features * SizeOf(operand));
  if (epilogue == Epilogue::kSiluGate) {
    most_wide_bytes_ = std::max(most_wide_bytes_, shape.out_features * WideBytes(operand));
  }
  if (format == WeightFormat::kFP8) {
    has_fp8_ = true;
    needs_sums_ = needs_sums_ || compute_capability_ != kRowScales;
    most_sum_bytes_ = std::max(most_sum_bytes_, shape.out_features * kFloat);
  }
  return matrix;
}

Status CudaLinear::Grow(DeviceMemory& memory, int64_t bytes) {
  if (bytes <= memory.bytes()) return OkStatus();
  ++generation_;
  memory = DeviceMemory();  // first, so that both never have to fit; waits for who uses it
  StatusOr<DeviceMemory> larger = DeviceMemory::Allocate(bytes);
  if (!larger.ok()) return larger.status();
  memory = *std::move(larger);
  return OkStatus();
}

Status CudaLinear::Reserve(int64_t rows) {
  loader_.Release();
  Status status = Grow(input_, rows * most_input_bytes_);
  if (status.ok() && has_fp8_) status = Grow(input_scales_, rows * kFloat);
  if (status.ok()) status = Grow(wide_, rows * most_wide_bytes_);
  if (status.ok() && needs_sums_) status = Grow(sums_, rows * most_sum_bytes_);
  return status;
}

int64_t CudaLinear::scratch_bytes() const {
  return cublas_->workspace_bytes() + input_.bytes() + input_scales_.bytes() + wide_.bytes() +
         sums_.bytes();
}

StatusOr<CudaLinear::Input> CudaLinear::ToOperand(const Tensor& in, const RmsNorm& norm,
                                                  Operand operand) {
  if (operand == Operand::kF32 && norm.weight.data == nullptr) return Input{in.data, nullptr};
  Status status = Grow(input_, in.rows * in.cols * SizeOf(operand));
  if (status.ok() && operand == Operand::kE4M3) status = Grow(input_scales_, in.rows * kFloat);
  if (!status.ok()) return status;
  const ProductRows to{RowTypeOf(operand), input_.data(),
                       operand == Operand::kE4M3 ? input_scales_.as<float>() : nullptr};
  if (status = RmsNormRows(in, norm, to, stream_); !status.ok()) return status;
  return Input{to.data, to.scales};
}

StatusOr<CudaLinear::Input> CudaLinear::GateToOperand(int64_t rows, int64_t inner,
                                                      Operand operand) {
  // The rows that the gate's products have read are not needed any more.
  Status status = Grow(input_, rows * inner * SizeOf(operand));
  if (!status.ok()) return status;
  const ProductRows to{RowTypeOf(operand), input_.data(),
                       operand == Operand::kE4M3 ? input_scales_.as<float>() : nullptr};
  status = SiluGate(WideIsBF16(operand) ? RowType::kBF16 : RowType::kF32, wide_.data(), rows, inner,
                    to, stream_);
  if (!status.ok()) return status;
  return Input{to.data, to.scales};
}

Status CudaLinear::Multiply(const CudaMatrix& weight, const Input& in, int64_t rows, void* out,
                            bool bf16_out, bool add) {
  Product p;
  p.rows = rows;
  p.columns = weight.out_features();
  p.depth = weight.in_features();
  p.operand = weight.operand();
  p.in = in.rows;
  p.weight = weight.weights();
  p.out = out;
  p.bf16_out = bf16_out;
  p.add = add;
  if (p.operand != Operand::kE4M3) return cublas_->Multiply(p, stream_);

  if (compute_capability_ == kRowScales) {
    p.in_scales = in.scales;
    p.weight_scales = weight.scales();
    const Status status = cublas_->Multiply(p, stream_);
    if (!absl::IsUnimplemented(status)) return status;
    needs_sums_ = true;
  }
  // The library multiplies the bare numbers, and a pass of ours applies the scales.
  Status status = Grow(sums_, rows * p.columns * kFloat);
  if (!status.ok()) return status;
  p.in_scales = p.weight_scales = nullptr;
  p.out = sums_.data();
  p.bf16_out = p.add = false;
  if (status = cublas_->Multiply(p, stream_); !status.ok()) return status;
  return ScaleSums({.sums = sums_.as<float>(),
                    .row_scales = in.scales,
                    .column_scales = weight.scales(),
                    .rows = rows,
                    .columns = p.columns,
                    .out = out,
                    .bf16_out = bf16_out,
                    .add = add},
                   stream_);
}

Status CudaLinear::MultiplyGate(const CudaMatrix& weight, const Input& in, int64_t rows) {
  const bool bf16 = WideIsBF16(weight.operand());
  Status status = Grow(wide_, rows * weight.out_features() * WideBytes(weight.operand()));
  return status.ok() ? Multiply(weight, in, rows, wide_.data(), bf16, /*add=*/false) : status;
}

Status CudaLinear::Linear(const CudaMatrix& weight, const Tensor& in, const RmsNorm& norm,
                          Tensor out) {
  if (in.rows == 0) return OkStatus();
  StatusOr<Input> input = ToOperand(in, norm, weight.operand());
  if (!input.ok()) return input.status();
  if (weight.shape().epilogue == Epilogue::kNone) {
    return Multiply(weight, *input, in.rows, out.data, /*bf16_out=*/false, /*add=*/false);
  }
  if (Status status = MultiplyGate(weight, *input, in.rows); !status.ok()) return status;
  return SiluGate(WideIsBF16(weight.operand()) ? RowType::kBF16 : RowType::kF32, wide_.data(),
                  in.rows, out.cols, {RowType::kF32, out.data, nullptr}, stream_);
}

Status CudaLinear::AddLinear(const CudaMatrix& weight, const Tensor& in, Tensor x) {
  if (in.rows == 0) return OkStatus();
  StatusOr<Input> input = ToOperand(in, {}, weight.operand());
  if (!input.ok()) return input.status();
  return Multiply(weight, *input, in.rows, x.data, /*bf16_out=*/false, /*add=*/true);
}

Status CudaLinear::FeedForward(Tensor x, const RmsNorm& norm, const CudaMatrix& gate_up,
                               const CudaMatrix& down) {
  if (x.rows == 0) return OkStatus();
  StatusOr<Input> input = ToOperand(x, norm, gate_up.operand());
  if (!input.ok()) return input.status();
  if (Status status = MultiplyGate(gate_up, *input, x.rows); !status.ok()) return status;
  input = GateToOperand(x.rows, down.in_features(), down.operand());
  if (!input.ok()) return input.status();
  return Multiply(down, *input, x.rows, x.data, /*bf16_out=*/false, /*add=*/true);
}

}  // namespace longleaf::kernels::cuda
