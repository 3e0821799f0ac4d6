// The CPU backend: checks, then the kernels of this folder.
#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/aligned.h"
#include "kernels/checks.h"
#include "kernels/cpu/canonical.h"
#include "kernels/cpu/cca_attention.h"
#include "kernels/cpu/cpu_linear.h"
#include "kernels/cpu/cpu_state.h"
#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/fast_sampling.h"
#include "kernels/cpu/packed_matmul.h"
#include "kernels/cpu/page_pool.h"
#include "kernels/cpu/rotary_append_pool.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/reference.h"

namespace longleaf::kernels {
namespace {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

class CpuBuffer : public Buffer {
 public:
  CpuBuffer(AlignedFloats data, int64_t rows, int64_t cols, int64_t* account)
      : data_(std::move(data)), rows_(rows), cols_(cols), account_(account) {
    *account_ += rows * cols * int64_t{sizeof(float)};
  }
  ~CpuBuffer() override { *account_ -= rows_ * cols_ * int64_t{sizeof(float)}; }
  Tensor tensor() const override { return {data_.get(), rows_, cols_}; }

 private:
  const AlignedFloats data_;  // [rows, cols]
  const int64_t rows_;
  const int64_t cols_;
  int64_t* const account_;
};

CpuState* Cast(State& state) { return dynamic_cast<CpuState*>(&state); }
const CpuState* Cast(const State& state) { return dynamic_cast<const CpuState*>(&state); }

Status WrongBackend() { return absl::InvalidArgumentError("an object of another backend"); }

// See class Backend for every contract.
class CpuBackend : public Backend {
 public:
  CpuBackend(int64_t threads, const CpuOptions& options)
      : pool_(threads), pages_(options.state_capacity_bytes, options.poison_pages) {}

  std::string name() const override {
    return absl::StrCat("cpu (", InstructionSet(), ", ", pool_.threads(),
                        pool_.threads() == 1 ? " thread)" : " threads)");
  }
  BackendMemory memory() const override {
    return {weight_bytes_, activation_bytes_, pages_.used_bytes(), pages_.capacity_bytes(),
            pages_.pool_bytes()};
  }

  StatusOr<std::unique_ptr<Matrix>> PackMatrix(absl::Span<const WeightView> parts,
                                               Epilogue epilogue, WeightFormat format) override;
  // The bytes of panels.h and quantised_panels.h: raised when they change.
  std::string packed_layout() const override { return "cpu-panels-1"; }
  StatusOr<int64_t> PackedBytes(const MatrixShape& shape) const override;
  StatusOr<std::unique_ptr<Matrix>> AdoptMatrix(const MatrixShape& shape,
                                                absl::Span<const std::byte> packed,
                                                std::shared_ptr<const void> owner) override;
  StatusOr<std::unique_ptr<Buffer>> CopyVector(const WeightView& vector) override;
  StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t rows, int64_t cols) override;
  Status ToHost(const Tensor& from, float* out) override;

  StatusOr<std::unique_ptr<State>> NewState(const StateShape& shape) override;
  StatusOr<std::unique_ptr<State>> Branch(const State& parent) override;
  int64_t BytesToGrow(const State& state, int64_t rows) const override;
  Status BeginStep(Batch batch) override;
  void CommitStep(Batch batch) override;
  void AbortStep(Batch batch) override;

  Status Embed(const WeightView& table, absl::Span<const int32_t> tokens, Tensor out) override;
  Status Linear(const Matrix& weight, const Tensor& in, const RmsNorm& norm, Tensor out) override;
  Status AddLinear(const Matrix& weight, const Tensor& in, Tensor x) override;
  Status FeedForward(Tensor x, const RmsNorm& norm, const Matrix& gate_up,
                     const Matrix& down) override;
  Status RotaryAppendPool(int64_t layer, Batch batch, const Rotary& rotary, Tensor qkv) override;
  Status Attention(int64_t layer, Batch batch, Rows rows, const Tensor& qkv, Tensor out) override;
  Status GatherRows(const Tensor& in, absl::Span<const int64_t> indices, Tensor out) override;
  StatusOr<std::vector<SampleResult>> Sample(const Tensor& logits,
                                             absl::Span<const SampleRequest> requests) override;

  Status Export(const State& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                absl::Span<std::byte> out) override;
  Status PrepareImport(State& state, int64_t tokens, int64_t first_raw) override;
  Status Import(State& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                absl::Span<const std::byte> in) override;

 private:
  Status Exhausted(int64_t needed) const {
    return absl::ResourceExhaustedError(absl::StrCat("state memory: ", needed, " bytes needed, ",
                                                     pages_.used_bytes(), " of ",
                                                     pages_.capacity_bytes(), " in use"));
  }
  static Status CheckStep(Batch batch);

  ThreadPool pool_;
  PagePool pages_;
  CpuLinear linear_{&pool_};
  RotaryTable rotary_table_;
  int64_t weight_bytes_ = 0;
  int64_t activation_bytes_ = 0;
};

// ---- weights and activations

// UNIMPLEMENTED for what this backend does not multiply with.
Status CheckFormat(WeightFormat format) {
  if (format != WeightFormat::kFP8) return OkStatus();
  return absl::UnimplementedError(absl::StrCat("weights in ", NameOf(format),
                                               " on the CPU: it takes f32, bf16, int8 and int4"));
}

StatusOr<std::unique_ptr<Matrix>> CpuBackend::PackMatrix(absl::Span<const WeightView> parts,
                                                         Epilogue epilogue, WeightFormat format) {
  Status status = CheckPackMatrix(parts, epilogue, format);
  if (status.ok()) status = CheckFormat(format);
  if (!status.ok()) return status;
  return PackedMatrix::Pack(parts, epilogue, format, pool_, &weight_bytes_);
}

StatusOr<int64_t> CpuBackend::PackedBytes(const MatrixShape& shape) const {
  Status status = CheckMatrixShape(shape);
  if (status.ok()) status = CheckFormat(shape.format);
  if (!status.ok()) return status;
  return PackedMatrix::BytesOf(shape);
}

StatusOr<std::unique_ptr<Matrix>> CpuBackend::AdoptMatrix(const MatrixShape& shape,
                                                          absl::Span<const std::byte> packed,
                                                          std::shared_ptr<const void> owner) {
  Status status = CheckMatrixShape(shape);
  if (status.ok()) status = CheckFormat(shape.format);
  if (!status.ok()) return status;
  return PackedMatrix::Adopt(shape, packed, std::move(owner), &weight_bytes_);
}

StatusOr<std::unique_ptr<Buffer>> CpuBackend::CopyVector(const WeightView& vector) {
  if (Status status = CheckCopyVector(vector); !status.ok()) return status;
  StatusOr<std::unique_ptr<Buffer>> buffer = Allocate(1, vector.cols);
  if (buffer.ok()) ToFloat(vector.data, vector.type, vector.cols, (*buffer)->tensor().data);
  return buffer;
}

StatusOr<std::unique_ptr<Buffer>> CpuBackend::Allocate(int64_t rows, int64_t cols) {
  if (Status status = CheckAllocate(rows, cols); !status.ok()) return status;
  AlignedFloats data = AllocateFloats(rows * cols);
  if (data == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a buffer [", rows, ", ", cols, "]"));
  }
  std::fill_n(data.get(), rows * cols, 0.0f);
  return std::make_unique<CpuBuffer>(std::move(data), rows, cols, &activation_bytes_);
}

Status CpuBackend::ToHost(const Tensor& from, float* out) {
  if (Status status = CheckTensor("from", from, from.rows, from.cols); !status.ok()) return status;
  std::copy_n(from.data, from.rows * from.cols, out);
  return OkStatus();
}

// ---- states

StatusOr<std::unique_ptr<State>> CpuBackend::NewState(const StateShape& shape) {
  if (Status status = CheckStateShape(shape); !status.ok()) return status;
  return std::make_unique<CpuState>(shape, &pages_);
}

StatusOr<std::unique_ptr<State>> CpuBackend::Branch(const State& parent) {
  const CpuState* from = Cast(parent);
  if (from == nullptr) return WrongBackend();
  if (from->step_rows() != 0) return absl::InvalidArgumentError("a branch of a state in a step");
  auto to = std::make_unique<CpuState>(from->shape(), &pages_);
  to->ShareAll(*from);
  return to;
}

int64_t CpuBackend::BytesToGrow(const State& state, int64_t rows) const {
  const CpuState* s = Cast(state);
  return s == nullptr || rows < 1 ? 0 : s->BytesToGrow(rows);
}

Status CpuBackend::BeginStep(Batch batch) {
  if (Status status = CheckBatch(batch); !status.ok()) return status;
  int64_t needed = 0;
  for (const BatchItem& item : batch) {
    const CpuState* state = Cast(*item.state);
    if (state == nullptr) return WrongBackend();
    if (state->step_rows() != 0) return absl::InvalidArgumentError("a state is in a step already");
    needed += state->BytesToGrow(item.rows);
  }
  if (!pages_.Fits(needed)) return Exhausted(needed);
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!Cast(*batch[i].state)->Grow(batch[i].rows)) {  // the machine itself is out of memory
      AbortStep(batch.subspan(0, i));
      return Exhausted(needed);
    }
  }
  return OkStatus();
}

void CpuBackend::CommitStep(Batch batch) {
  for (const BatchItem& item : batch) {
    if (CpuState* state = Cast(*item.state); state != nullptr) state->Commit();
  }
}

void CpuBackend::AbortStep(Batch batch) {
  for (const BatchItem& item : batch) {
    if (CpuState* state = Cast(*item.state); state != nullptr) state->Abort();
  }
}

Status CpuBackend::CheckStep(Batch batch) {
  for (const BatchItem& item : batch) {
    const CpuState* state = Cast(*item.state);
    if (state == nullptr) return WrongBackend();
    if (state->step_rows() != item.rows) {
      return absl::InvalidArgumentError("the batch is not the one of BeginStep");
    }
  }
  return OkStatus();
}

// ---- operations

Status CpuBackend::Embed(const WeightView& table, absl::Span<const int32_t> tokens, Tensor out) {
  if (Status status = CheckEmbed(table, tokens, out); !status.ok()) return status;
  const char* rows = static_cast<const char*>(table.data);
  for (size_t i = 0; i < tokens.size(); ++i) {
    ToFloat(rows + int64_t{tokens[i]} * table.cols * SizeOf(table.type), table.type, table.cols,
            out.data + static_cast<int64_t>(i) * out.cols);
  }
  return OkStatus();
}

Status CpuBackend::Linear(const Matrix& weight, const Tensor& in, const RmsNorm& norm, Tensor out) {
  const auto* w = dynamic_cast<const PackedMatrix*>(&weight);
  if (w == nullptr) return WrongBackend();
  if (Status status = CheckLinear(w->shape(), in, norm, out); !status.ok()) return status;
  return linear_.Linear(*w, in, norm, out);
}

Status CpuBackend::AddLinear(const Matrix& weight, const Tensor& in, Tensor x) {
  const auto* w = dynamic_cast<const PackedMatrix*>(&weight);
  if (w == nullptr) return WrongBackend();
  if (Status status = CheckAddLinear(w->shape(), in, x); !status.ok()) return status;
  return linear_.AddLinear(*w, in, x);
}

Status CpuBackend::FeedForward(Tensor x, const RmsNorm& norm, const Matrix& gate_up,
                               const Matrix& down) {
  const auto* g = dynamic_cast<const PackedMatrix*>(&gate_up);
  const auto* d = dynamic_cast<const PackedMatrix*>(&down);
  if (g == nullptr || d == nullptr) return WrongBackend();
  const Status status = CheckFeedForward(x, norm, g->shape(), d->shape());
  return status.ok() ? linear_.FeedForward(x, norm, *g, *d) : status;
}

Status CpuBackend::RotaryAppendPool(int64_t layer, Batch batch, const Rotary& rotary, Tensor qkv) {
  Status status = CheckRotaryAppendPool(layer, batch, rotary, qkv);
  if (status.ok()) status = CheckStep(batch);
  if (status.ok()) status = CheckLayerReady(batch, layer);
  if (!status.ok()) return status;
  if (!rotary_table_.Prepare(batch, rotary, pool_)) {
    return absl::ResourceExhaustedError("no memory for rotary angles");
  }
  kernels::RotaryAppendPool(layer, batch, rotary_table_, qkv, pool_);
  return OkStatus();
}

Status CpuBackend::Attention(int64_t layer, Batch batch, Rows rows, const Tensor& qkv, Tensor out) {
  Status status = CheckAttention(layer, batch, rows, qkv, out);
  if (status.ok()) status = CheckStep(batch);
  if (status.ok()) status = CheckLayerReady(batch, layer);
  if (!status.ok()) return status;
  const StateShape& shape = batch.front().state->shape();
  std::vector<AttentionItem> items;
  const float* query = qkv.data;
  float* to = out.data;
  for (const BatchItem& item : batch) {
    const int64_t wanted = rows == Rows::kAll ? item.rows : item.outputs;
    const CpuState& state = *Cast(*item.state);
    if (wanted > 0) {
      const int64_t skipped = item.rows - wanted;
      items.push_back({state.tokens() + skipped, wanted, query + skipped * qkv.cols, to,
                       state.pages(StatePart::kCore, layer), state.pages(StatePart::kRaw, layer),
                       item.attention_mass});
    }
    query += item.rows * qkv.cols;
    to += wanted * out.cols;
  }
  const AttentionDims dims{shape.query_heads, shape.kv_heads, shape.core_heads(), shape.head_dim,
                           shape.dtype};
  CcaAttention(shape.policy, dims, qkv.cols, items, pool_);
  return OkStatus();
}

Status CpuBackend::GatherRows(const Tensor& in, absl::Span<const int64_t> indices, Tensor out) {
  if (Status status = CheckGatherRows(in, indices, out); !status.ok()) return status;
  float* to = out.data;
  for (int64_t index : indices) to = std::copy_n(in.data + index * in.cols, in.cols, to);
  return OkStatus();
}

StatusOr<std::vector<SampleResult>> CpuBackend::Sample(const Tensor& logits,
                                                       absl::Span<const SampleRequest> requests) {
  if (Status status = CheckSample(logits, requests); !status.ok()) return status;
  std::vector<StatusOr<SampleResult>> results(requests.size(), SampleResult{});
  pool_.ParallelFor(logits.rows, [&](int64_t row, int64_t) {
    const size_t r = static_cast<size_t>(row);
    results[r] = SampleFast({logits.data + row * logits.cols, static_cast<size_t>(logits.cols)},
                            requests[r]);
  });
  std::vector<SampleResult> samples;
  for (StatusOr<SampleResult>& result : results) {
    if (!result.ok()) return result.status();
    samples.push_back(*std::move(result));
  }
  return samples;
}

// ---- canonical bytes

Status CpuBackend::Export(const State& state, int64_t layer, StatePart part, int64_t first,
                          int64_t count, absl::Span<std::byte> out) {
  const CpuState* from = Cast(state);
  if (from == nullptr) return WrongBackend();
  Status status = CheckRange(state, layer, part, first, count, out.size());
  if (status.ok()) status = CheckLayerReady(state, layer);
  if (status.ok()) ExportPages(*from, layer, part, first, count, out.data());
  return status;
}

Status CpuBackend::PrepareImport(State& state, int64_t tokens, int64_t first_raw) {
  CpuState* to = Cast(state);
  if (to == nullptr) return WrongBackend();
  if (Status status = CheckPrepareImport(state, tokens, first_raw); !status.ok()) return status;
  if (to->step_rows() != 0) return absl::InvalidArgumentError("import into a state in a step");
  if (!to->PrepareImport(tokens, first_raw)) {
    return absl::ResourceExhaustedError(absl::StrCat("state memory: no room to import ", tokens,
                                                     " tokens, ", pages_.used_bytes(), " of ",
                                                     pages_.capacity_bytes(), " bytes in use"));
  }
  return OkStatus();
}

Status CpuBackend::Import(State& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                          absl::Span<const std::byte> in) {
  CpuState* to = Cast(state);
  if (to == nullptr) return WrongBackend();
  Status status = CheckRange(state, layer, part, first, count, in.size());
  if (!status.ok()) return status;
  ImportProgress* const progress = to->import();
  const int64_t bytes = static_cast<int64_t>(in.size());
  if (progress == nullptr || !progress->Claim(layer, bytes)) {
    return absl::InvalidArgumentError("import of a range twice, or without PrepareImport");
  }
  ImportPages(*to, layer, part, first, count, in.data());
  progress->Written(layer, bytes);
  return OkStatus();
}

}  // namespace

StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuOptions& options) {
  if (options.threads < 0 || options.threads > 4096 || options.state_capacity_bytes < 0) {
    return absl::InvalidArgumentError("CPU backend: threads or state capacity out of range");
  }
  const int64_t threads = options.threads > 0
                              ? options.threads
                              : std::max<int64_t>(1, std::thread::hardware_concurrency());
  return std::make_unique<CpuBackend>(threads, options);
}

StatusOr<std::unique_ptr<Backend>> CreateReferenceBackend(int64_t state_capacity_bytes) {
  if (state_capacity_bytes < 0) {
    return absl::InvalidArgumentError("reference backend: state capacity out of range");
  }
  return std::make_unique<ReferenceBackend>(state_capacity_bytes);
}

}  // namespace longleaf::kernels
