// The reference backend: weights, activations and the operations on them. Its states are in
// reference_state.cc, its attention in reference_attention.cc.
#include "kernels/reference.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/aligned.h"
#include "kernels/checks.h"
#include "kernels/float_types.h"
#include "kernels/quantised.h"
#include "kernels/sampling.h"

namespace longleaf::kernels {
namespace {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

// Charges bytes to one of the backend's accounts for as long as it lives.
class Charge {
 public:
  Charge(int64_t* account, int64_t bytes) : account_(account), bytes_(bytes) { *account_ += bytes; }
  ~Charge() { *account_ -= bytes_; }
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;

 private:
  int64_t* const account_;
  const int64_t bytes_;
};

class ReferenceBuffer : public Buffer {
 public:
  ReferenceBuffer(AlignedFloats data, int64_t rows, int64_t cols, int64_t* account)
      : data_(std::move(data)),
        rows_(rows),
        cols_(cols),
        charge_(account, rows * cols * int64_t{sizeof(float)}) {}
  Tensor tensor() const override { return {data_.get(), rows_, cols_}; }

 private:
  const AlignedFloats data_;  // [rows, cols]
  const int64_t rows_;
  const int64_t cols_;
  const Charge charge_;
};

// Weights as the product sees them: rounded to their format, in f32.
class ReferenceMatrix : public Matrix {
 public:
  ReferenceMatrix(AlignedFloats data, const MatrixShape& shape, int64_t* account)
      : data_(std::move(data)), shape_(shape), charge_(account, bytes()) {}
  const MatrixShape& shape() const override { return shape_; }
  int64_t bytes() const override {
    return shape_.out_features * shape_.in_features * int64_t{sizeof(float)};
  }
  absl::Span<const std::byte> packed() const override { return {}; }
  const float* row(int64_t r) const { return data_.get() + r * shape_.in_features; }

 private:
  const AlignedFloats data_;  // [out_features, in_features]
  const MatrixShape shape_;
  const Charge charge_;
};

// a[n] . b[n]
double Dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

void Normalise(const RmsNorm& norm, std::vector<float>& row) {
  const double squares = Dot(row.data(), row.data(), static_cast<int64_t>(row.size()));
  const double mean = squares / static_cast<double>(row.size());
  const double scale = 1 / std::sqrt(mean + double{norm.epsilon});
  for (size_t i = 0; i < row.size(); ++i) {
    row[i] = static_cast<float>(double{row[i]} * scale * double{norm.weight.data[i]});
  }
}

}  // namespace

StatusOr<std::unique_ptr<Matrix>> ReferenceBackend::PackMatrix(absl::Span<const WeightView> parts,
                                                               Epilogue epilogue,
                                                               WeightFormat format) {
  if (Status status = CheckPackMatrix(parts, epilogue, format); !status.ok()) return status;
  MatrixShape shape{0, parts[0].cols, epilogue, format};
  for (const WeightView& part : parts) shape.out_features += part.rows;
  AlignedFloats data = AllocateFloats(shape.out_features * shape.in_features);
  if (data == nullptr) return absl::ResourceExhaustedError("no memory for a weight matrix");
  float* to = data.get();
  for (const WeightView& part : parts) {
    for (int64_t i = 0; i < part.rows * part.cols; ++i) {
      *to++ = LoadElement(part.data, part.type, i);
    }
  }
  for (int64_t r = 0; r < shape.out_features; ++r) {
    RoundForProduct(format, /*as_weights=*/true, shape.in_features,
                    data.get() + r * shape.in_features);
  }
  return std::make_unique<ReferenceMatrix>(std::move(data), shape, &memory_.weight_bytes);
}

StatusOr<int64_t> ReferenceBackend::PackedBytes(const MatrixShape&) const {
  return absl::UnimplementedError("the reference keeps no packed weights");
}

StatusOr<std::unique_ptr<Matrix>> ReferenceBackend::AdoptMatrix(const MatrixShape&,
                                                                absl::Span<const std::byte>,
                                                                std::shared_ptr<const void>) {
  return absl::UnimplementedError("the reference keeps no packed weights");
}

StatusOr<std::unique_ptr<Buffer>> ReferenceBackend::CopyVector(const WeightView& vector) {
  if (Status status = CheckCopyVector(vector); !status.ok()) return status;
  StatusOr<std::unique_ptr<Buffer>> buffer = Allocate(1, vector.cols);
  if (!buffer.ok()) return buffer.status();
  for (int64_t i = 0; i < vector.cols; ++i) {
    (*buffer)->tensor().data[i] = LoadElement(vector.data, vector.type, i);
  }
  return buffer;
}

StatusOr<std::unique_ptr<Buffer>> ReferenceBackend::Allocate(int64_t rows, int64_t cols) {
  if (Status status = CheckAllocate(rows, cols); !status.ok()) return status;
  AlignedFloats data = AllocateFloats(rows * cols);
  if (data == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a buffer [", rows, ", ", cols, "]"));
  }
  std::fill_n(data.get(), rows * cols, 0.0f);
  return std::make_unique<ReferenceBuffer>(std::move(data), rows, cols, &memory_.activation_bytes);
}

Status ReferenceBackend::ToHost(const Tensor& from, float* out) {
  if (Status status = CheckTensor("from", from, from.rows, from.cols); !status.ok()) return status;
  std::copy_n(from.data, from.rows * from.cols, out);
  return OkStatus();
}

Status ReferenceBackend::Embed(const WeightView& table, absl::Span<const int32_t> tokens,
                               Tensor out) {
  if (Status status = CheckEmbed(table, tokens, out); !status.ok()) return status;
  float* to = out.data;
  for (int32_t token : tokens) {
    for (int64_t i = 0; i < table.cols; ++i) {
      *to++ = LoadElement(table.data, table.type, token * table.cols + i);
    }
  }
  return OkStatus();
}

Status ReferenceBackend::Linear(const Matrix& weight, const Tensor& in, const RmsNorm& norm,
                                Tensor out) {
  const auto* w = dynamic_cast<const ReferenceMatrix*>(&weight);
  if (w == nullptr) return absl::InvalidArgumentError("a matrix of another backend");
  if (Status status = CheckLinear(w->shape(), in, norm, out); !status.ok()) return status;
  std::vector<float> row(static_cast<size_t>(in.cols));
  for (int64_t r = 0; r < in.rows; ++r) {
    std::copy_n(in.data + r * in.cols, in.cols, row.begin());
    if (norm.weight.data != nullptr) Normalise(norm, row);
    RoundForProduct(w->shape().format, /*as_weights=*/false, in.cols, row.data());
    for (int64_t n = 0; n < out.cols; ++n) {
      double value = Dot(row.data(), w->row(n), in.cols);
      if (w->shape().epilogue == Epilogue::kSiluGate) {
        const double up = Dot(row.data(), w->row(out.cols + n), in.cols);
        value = value / (1 + std::exp(-value)) * up;
      }
      out.data[r * out.cols + n] = static_cast<float>(value);
    }
  }
  return OkStatus();
}

Status ReferenceBackend::AddLinear(const Matrix& weight, const Tensor& in, Tensor x) {
  if (Status status = CheckAddLinear(weight.shape(), in, x); !status.ok()) return status;
  std::vector<float> product(static_cast<size_t>(x.rows * x.cols));
  Status status = Linear(weight, in, {}, {product.data(), x.rows, x.cols});
  for (size_t i = 0; status.ok() && i < product.size(); ++i) x.data[i] += product[i];
  return status;
}

Status ReferenceBackend::FeedForward(Tensor x, const RmsNorm& norm, const Matrix& gate_up,
                                     const Matrix& down) {
  Status status = CheckFeedForward(x, norm, gate_up.shape(), down.shape());
  if (!status.ok()) return status;
  std::vector<float> inner(static_cast<size_t>(x.rows * down.in_features()));
  const Tensor gated{inner.data(), x.rows, down.in_features()};
  status = Linear(gate_up, x, norm, gated);
  return status.ok() ? AddLinear(down, gated, x) : status;
}

Status ReferenceBackend::GatherRows(const Tensor& in, absl::Span<const int64_t> indices,
                                    Tensor out) {
  if (Status status = CheckGatherRows(in, indices, out); !status.ok()) return status;
  float* to = out.data;
  for (int64_t index : indices) {
    to = std::copy_n(in.data + index * in.cols, in.cols, to);
  }
  return OkStatus();
}

StatusOr<std::vector<SampleResult>> ReferenceBackend::Sample(
    const Tensor& logits, absl::Span<const SampleRequest> requests) {
  if (Status status = CheckSample(logits, requests); !status.ok()) return status;
  std::vector<SampleResult> results;
  const float* row = logits.data;
  for (const SampleRequest& request : requests) {
    StatusOr<SampleResult> result =
        SampleReference({row, static_cast<size_t>(logits.cols)}, request);
    if (!result.ok()) return result.status();
    results.push_back(*std::move(result));
    row += logits.cols;
  }
  return results;
}

}  // namespace longleaf::kernels
