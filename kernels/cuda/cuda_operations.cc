// The operations of the CUDA backend: checks, then kernels, put into the stream or kept for the
// step's graph.
#include <bit>
#include <utility>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cuda/cuda_backend_impl.h"
#include "kernels/cuda/cuda_matrix.h"
#include "kernels/cuda/cuda_state.h"
#include "kernels/cuda/elementwise.h"

namespace longleaf::kernels::cuda {
namespace {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

CudaState* Cast(State& state) { return dynamic_cast<CudaState*>(&state); }
const CudaMatrix* Cast(const Matrix& matrix) { return dynamic_cast<const CudaMatrix*>(&matrix); }

Status WrongBackend() { return absl::InvalidArgumentError("an object of another backend"); }

int64_t Address(const void* pointer) {
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(pointer));
}

}  // namespace

Status CudaBackend::CheckStep(Batch batch, int64_t layer) {
  for (const BatchItem& item : batch) {
    const CudaState* state = Cast(*item.state);
    if (state == nullptr) return WrongBackend();
    if (state->step_rows() != item.rows) {
      return absl::InvalidArgumentError("the batch is not the one of BeginStep");
    }
  }
  if (Status status = CheckLayerReady(batch, layer); !status.ok()) return status;
  if (tables_.Holds(batch)) return OkStatus();
  Status status = Flush();
  return status.ok() ? SendStep(batch) : status;
}

Status CudaBackend::Enqueue(StepGraph::Key key, StepGraph::Operation operation) {
  if (!graph_.open()) return operation();
  graph_.Add(key, std::move(operation));
  return OkStatus();
}

Status CudaBackend::Embed(const WeightView& table, absl::Span<const int32_t> tokens, Tensor out) {
  Status status = CheckEmbed(table, tokens, out);
  return status.ok() ? embedder_.Embed(table, tokens, out, stream_.get()) : status;
}

Status CudaBackend::Linear(const Matrix& weight, const Tensor& in, const RmsNorm& norm,
                           Tensor out) {
  const CudaMatrix* w = Cast(weight);
  if (w == nullptr) return WrongBackend();
  if (Status status = CheckLinear(w->shape(), in, norm, out); !status.ok()) return status;
  return Enqueue({kLinear, Address(w), Address(in.data), in.rows, Address(norm.weight.data),
                  std::bit_cast<int32_t>(norm.epsilon), Address(out.data)},
                 [this, w, in, norm, out] { return linear_->Linear(*w, in, norm, out); });
}

Status CudaBackend::AddLinear(const Matrix& weight, const Tensor& in, Tensor x) {
  const CudaMatrix* w = Cast(weight);
  if (w == nullptr) return WrongBackend();
  if (Status status = CheckAddLinear(w->shape(), in, x); !status.ok()) return status;
  return Enqueue({kAddLinear, Address(w), Address(in.data), in.rows, Address(x.data)},
                 [this, w, in, x] { return linear_->AddLinear(*w, in, x); });
}

Status CudaBackend::FeedForward(Tensor x, const RmsNorm& norm, const Matrix& gate_up,
                                const Matrix& down) {
  const CudaMatrix* g = Cast(gate_up);
  const CudaMatrix* d = Cast(down);
  if (g == nullptr || d == nullptr) return WrongBackend();
  const Status status = CheckFeedForward(x, norm, g->shape(), d->shape());
  if (!status.ok()) return status;
  return Enqueue({kFeedForward, Address(g), Address(d), Address(x.data), x.rows,
                  Address(norm.weight.data), std::bit_cast<int32_t>(norm.epsilon)},
                 [this, x, norm, g, d] { return linear_->FeedForward(x, norm, *g, *d); });
}

Status CudaBackend::RotaryAppendPool(int64_t layer, Batch batch, const Rotary& rotary, Tensor qkv) {
  Status status = CheckRotaryAppendPool(layer, batch, rotary, qkv);
  if (status.ok()) status = CheckStep(batch, layer);
  for (size_t i = 0; i < batch.size() && status.ok(); ++i) {
    status = Cast(*batch[i].state)->CopySharedPages(layer, stream_.get());
  }
  if (!status.ok()) return status;
  if (rotary.inverse_frequencies != rotary_.inverse_frequencies ||
      rotary.first_position != rotary_.first_position) {
    status = rotary_table_.Prepare(tables_.view(), rotary, shape_.head_dim, stream_.get());
    if (!status.ok()) return status;
    rotary_ = rotary;
  }
  const StepView view = tables_.view();
  return Enqueue(
      {kRotary, layer, Address(qkv.data), rotary_table_.generation()}, [this, layer, view, qkv] {
        return cuda::RotaryAppendPool(layer, shape_, view, rotary_table_, qkv, stream_.get());
      });
}

Status CudaBackend::Attention(int64_t layer, Batch batch, Rows rows, const Tensor& qkv,
                              Tensor out) {
  Status status = CheckAttention(layer, batch, rows, qkv, out);
  if (status.ok()) status = CheckStep(batch, layer);
  if (!status.ok()) return status;
  const StepView view = tables_.view();
  return Enqueue(
      {kAttention, layer, static_cast<int64_t>(rows), Address(qkv.data), Address(out.data)},
      [this, layer, rows, view, qkv, out] {
        Status done = attention_.Run(layer, rows, view, qkv, out, stream_.get());
        if (done.ok() && mass_.wanted()) {
          done = mass_.Add(layer, view, qkv, stream_.get());
        }
        return done;
      });
}

Status CudaBackend::GatherRows(const Tensor& in, absl::Span<const int64_t> indices, Tensor out) {
  if (Status status = CheckGatherRows(in, indices, out); !status.ok()) return status;
  StepGraph::Key key = {kGather, Address(in.data), in.rows, in.cols, Address(out.data)};
  key.insert(key.end(), indices.begin(), indices.end());
  return Enqueue(std::move(key),
                 [this, in, kept = std::vector<int64_t>(indices.begin(), indices.end()), out] {
                   return cuda::GatherRows(in, kept, out, stream_.get());
                 });
}

StatusOr<std::vector<SampleResult>> CudaBackend::Sample(const Tensor& logits,
                                                        absl::Span<const SampleRequest> requests) {
  Status status = CheckSample(logits, requests);
  if (status.ok()) status = Flush();
  if (status.ok()) status = Broken();
  if (!status.ok()) return status;
  return sampler_.Sample(logits, requests, stream_.get());
}

}  // namespace longleaf::kernels::cuda
