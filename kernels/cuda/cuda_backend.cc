// The CUDA backend: what it keeps (weights, activations, states) and what a step is. All work goes
// into one stream; small steps are kept back until they are whole and run as a graph
// (step_graph.h).
#include "kernels/cuda/cuda_backend.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/checks.h"
#include "kernels/cuda/cuda_backend_impl.h"
#include "kernels/cuda/cuda_state.h"
#include "kernels/float_types.h"

namespace longleaf::kernels {
namespace cuda {
namespace {

using absl::OkStatus;
using absl::Status;
using absl::StatusOr;

// Steps of more rows keep the device busy for longer than the host needs to feed it.
constexpr int64_t kMostGraphRows = 256;

class CudaBuffer : public Buffer {
 public:
  CudaBuffer(DeviceMemory data, int64_t rows, int64_t cols, int64_t* account)
      : data_(std::move(data)), rows_(rows), cols_(cols), account_(account) {
    *account_ += data_.bytes();
  }
  ~CudaBuffer() override { *account_ -= data_.bytes(); }
  Tensor tensor() const override { return {data_.as<float>(), rows_, cols_}; }

 private:
  const DeviceMemory data_;  // [rows, cols]
  const int64_t rows_;
  const int64_t cols_;
  int64_t* const account_;
};

CudaState* Cast(State& state) { return dynamic_cast<CudaState*>(&state); }
const CudaState* Cast(const State& state) { return dynamic_cast<const CudaState*>(&state); }

Status WrongBackend() { return absl::InvalidArgumentError("an object of another backend"); }

}  // namespace

StatusOr<std::unique_ptr<Backend>> CudaBackend::Create(const CudaOptions& options) {
  if (options.state_capacity_bytes < 0) {
    return absl::InvalidArgumentError("CUDA backend: state capacity out of range");
  }
  StatusOr<CudaDevice> device = FindCudaDevice();
  if (!device.ok()) return device.status();
  const int compute_capability = device->compute_capability;
  StatusOr<Stream> stream = Stream::Create();
  if (!stream.ok()) return stream.status();
  std::unique_ptr<CudaBackend> backend(
      new CudaBackend(options, *std::move(device), *std::move(stream)));
  StatusOr<std::unique_ptr<Transfer>> transfer = Transfer::Create(&backend->pages_.points());
  if (!transfer.ok()) return transfer.status();
  backend->transfer_ = *std::move(transfer);
  StatusOr<std::unique_ptr<CudaLinear>> linear =
      CudaLinear::Create(compute_capability, backend->stream_.get(), &backend->weight_bytes_);
  if (!linear.ok()) return linear.status();
  backend->linear_ = *std::move(linear);
  return backend;
}

// Nothing may use the memory that goes away with the members.
CudaBackend::~CudaBackend() { stream_.Synchronize().IgnoreError(); }

// ---- weights and activations

StatusOr<std::unique_ptr<Matrix>> CudaBackend::PackMatrix(absl::Span<const WeightView> parts,
                                                          Epilogue epilogue, WeightFormat format) {
  if (Status status = CheckPackMatrix(parts, epilogue, format); !status.ok()) return status;
  return linear_->Pack(parts, epilogue, format);
}

StatusOr<int64_t> CudaBackend::PackedBytes(const MatrixShape&) const {
  return absl::InvalidArgumentError("packed matrices of the device are not kept");
}

StatusOr<std::unique_ptr<Matrix>> CudaBackend::AdoptMatrix(const MatrixShape&,
                                                           absl::Span<const std::byte>,
                                                           std::shared_ptr<const void>) {
  return absl::InvalidArgumentError("packed matrices of the device are not kept");
}

StatusOr<std::unique_ptr<Buffer>> CudaBackend::CopyVector(const WeightView& vector) {
  if (Status status = CheckCopyVector(vector); !status.ok()) return status;
  StatusOr<std::unique_ptr<Buffer>> buffer = Allocate(1, vector.cols);
  if (!buffer.ok()) return buffer.status();
  std::vector<float> values(static_cast<size_t>(vector.cols));
  for (int64_t i = 0; i < vector.cols; ++i) {
    values[static_cast<size_t>(i)] = LoadElement(vector.data, vector.type, i);
  }
  Status status = Copy((*buffer)->tensor().data, values.data(),
                       vector.cols * int64_t{sizeof(float)}, stream_.get());
  if (status.ok()) status = stream_.Synchronize();
  if (!status.ok()) return status;
  return buffer;
}

StatusOr<std::unique_ptr<Buffer>> CudaBackend::Allocate(int64_t rows, int64_t cols) {
  if (Status status = CheckAllocate(rows, cols); !status.ok()) return status;
  StatusOr<DeviceMemory> data = DeviceMemory::Allocate(rows * cols * int64_t{sizeof(float)});
  if (!data.ok()) return data.status();
  Status status =
      Check(cudaMemsetAsync(data->data(), 0, static_cast<size_t>(data->bytes()), stream_.get()),
            "clearing a buffer");
  if (!status.ok()) return status;
  return std::make_unique<CudaBuffer>(*std::move(data), rows, cols, &activation_bytes_);
}

Status CudaBackend::ToHost(const Tensor& from, float* out) {
  Status status = CheckTensor("from", from, from.rows, from.cols);
  if (status.ok()) status = Flush();
  if (status.ok()) status = Broken();
  if (status.ok()) {
    status = Copy(out, from.data, from.rows * from.cols * int64_t{sizeof(float)}, stream_.get());
  }
  return status.ok() ? stream_.Synchronize() : status;
}

// ---- states

StatusOr<std::unique_ptr<State>> CudaBackend::NewState(const StateShape& shape) {
  if (Status status = CheckStateShape(shape); !status.ok()) return status;
  if (pages_.capacity_bytes() == 0) {
    // Weights and activations are there by now. A tenth is left to what grows with the first steps.
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    Status status = Check(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for free memory");
    if (!status.ok()) return status;
    pages_.SetCapacity(static_cast<int64_t>(free_bytes / 10 * 9));
  }
  return std::make_unique<CudaState>(shape, &pages_);
}

StatusOr<std::unique_ptr<State>> CudaBackend::Branch(const State& parent) {
  const CudaState* from = Cast(parent);
  if (from == nullptr) return WrongBackend();
  if (from->step_rows() != 0) return absl::InvalidArgumentError("a branch of a state in a step");
  auto to = std::make_unique<CudaState>(from->shape(), &pages_);
  to->ShareAll(*from);
  return to;
}

int64_t CudaBackend::BytesToGrow(const State& state, int64_t rows) const {
  const CudaState* s = Cast(state);
  return s == nullptr || rows < 1 ? 0 : s->BytesToGrow(rows);
}

Status CudaBackend::BeginStep(Batch batch) {
  Status status = CheckBatch(batch);
  if (status.ok()) status = Broken();
  if (!status.ok()) return status;
  int64_t needed = 0;
  for (const BatchItem& item : batch) {
    const CudaState* state = Cast(*item.state);
    if (state == nullptr) return WrongBackend();
    if (state->step_rows() != 0) return absl::InvalidArgumentError("a state is in a step already");
    needed += state->BytesToGrow(item.rows);
  }
  if (!pages_.Fits(needed)) return Exhausted(needed);
  for (size_t i = 0; i < batch.size(); ++i) {
    if (!Cast(*batch[i].state)->Grow(batch[i].rows)) {  // the device itself is out of memory
      AbortStep(batch.subspan(0, i));
      return Exhausted(needed);
    }
  }
  // A step that is still open has kept its work back: it must not wait behind this one's.
  status = Flush();
  // Now, while there is somebody to be told that there is no memory.
  if (status.ok()) status = linear_->Reserve(TotalsOf(batch).rows);
  if (status.ok()) status = SendStep(batch);
  if (!status.ok()) {
    AbortStep(batch);
    return status;
  }
  if (graphs_ && TotalsOf(batch).rows <= kMostGraphRows) graph_.Begin(KeyOf(batch));
  return OkStatus();
}

Status CudaBackend::SendStep(Batch batch) {
  shape_ = StepShapeOf(batch.front().state->shape());
  rotary_.inverse_frequencies.clear();
  for (const BatchItem& item : batch) {
    // Operations refuse such a batch; growing and committing its states is all it can do.
    if (item.state->shape() != batch.front().state->shape()) return OkStatus();
  }
  Status status = tables_.Begin(batch, stream_.get());
  if (status.ok()) {
    status = attention_.Begin(shape_, tables_.items(), batch, stream_.get());
  }
  if (status.ok()) status = mass_.Begin(shape_, batch, stream_.get());
  return status;
}

StepGraph::Key CudaBackend::KeyOf(Batch batch) const {
  const StateShape& shape = batch.front().state->shape();
  StepGraph::Key key = {shape.layers,
                        shape.query_heads,
                        shape.kv_heads,
                        shape.head_dim,
                        shape.policy.group,
                        shape.policy.window,
                        shape.policy.sinks,
                        shape.core_heads(),
                        static_cast<int64_t>(shape.policy.kind),
                        static_cast<int64_t>(shape.dtype),
                        tables_.generation(),
                        linear_->generation()};
  for (const BatchItem& item : batch) {
    key.push_back(item.rows);
    key.push_back(item.outputs);
  }
  attention_.AppendKey(&key);
  mass_.AppendKey(&key);
  return key;
}

void CudaBackend::CommitStep(Batch batch) {
  // A wait, where somebody asked for attention mass.
  failed_.Update(Flush());
  if (mass_.wanted() && tables_.Holds(batch)) failed_.Update(mass_.Finish(stream_.get()));
  for (const BatchItem& item : batch) {
    if (CudaState* state = Cast(*item.state); state != nullptr) state->Commit();
  }
  transfer_->StepCommitted();
}

void CudaBackend::AbortStep(Batch batch) {
  if (tables_.Holds(batch)) graph_.Discard();
  for (const BatchItem& item : batch) {
    if (CudaState* state = Cast(*item.state); state != nullptr) state->Abort();
  }
}

// ---- canonical bytes

Status CudaBackend::Export(const State& state, int64_t layer, StatePart part, int64_t first,
                           int64_t count, absl::Span<std::byte> out) {
  const CudaState* from = Cast(state);
  if (from == nullptr) return WrongBackend();
  Status status = CheckRange(state, layer, part, first, count, out.size());
  if (status.ok()) status = CheckLayerReady(state, layer);
  return status.ok() ? transfer_->Export(*from, layer, part, first, count, out) : status;
}

Status CudaBackend::PrepareImport(State& state, int64_t tokens, int64_t first_raw) {
  CudaState* to = Cast(state);
  if (to == nullptr) return WrongBackend();
  Status status = CheckPrepareImport(state, tokens, first_raw);
  if (status.ok()) status = Broken();
  if (!status.ok()) return status;
  if (to->step_rows() != 0) return absl::InvalidArgumentError("import into a state in a step");
  if (!to->PrepareImport(tokens, first_raw)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("state memory: no room to import ", tokens, " tokens, ", pages_.used_bytes(),
                     " of ", pages_.capacity_bytes(), " bytes in use on the device"));
  }
  return OkStatus();
}

Status CudaBackend::Import(State& state, int64_t layer, StatePart part, int64_t first,
                           int64_t count, absl::Span<const std::byte> in) {
  CudaState* to = Cast(state);
  if (to == nullptr) return WrongBackend();
  Status status = CheckRange(state, layer, part, first, count, in.size());
  if (!status.ok()) return status;
  ImportProgress* const progress = to->import();
  const int64_t bytes = static_cast<int64_t>(in.size());
  if (progress == nullptr || !progress->Claim(layer, bytes)) {
    return absl::InvalidArgumentError("import of a range twice, or without PrepareImport");
  }
  // After a failure the layer never becomes ready: the import is given up.
  if (status = transfer_->Import(*to, layer, part, first, count, in); status.ok()) {
    progress->Written(layer, bytes);
  }
  return status;
}

}  // namespace cuda

absl::StatusOr<CudaDevice> FindCudaDevice() {
  int count = 0;
  absl::Status status = cuda::Check(cudaGetDeviceCount(&count), "looking for a device");
  if (!status.ok()) return absl::UnavailableError(status.message());
  if (count == 0) return absl::UnavailableError("no CUDA device");
  cudaDeviceProp properties{};
  status = cuda::Check(cudaGetDeviceProperties(&properties, 0), "asking the device");
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  if (status.ok()) {
    status = cuda::Check(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for free memory");
  }
  if (!status.ok()) return status;
  const CudaDevice device{properties.name, properties.major * 10 + properties.minor,
                          properties.multiProcessorCount, static_cast<int64_t>(total_bytes),
                          static_cast<int64_t>(free_bytes)};
  if (device.compute_capability < 80) {
    return absl::UnavailableError(absl::StrCat(device.name, " has compute capability ",
                                               properties.major, ".", properties.minor,
                                               "; 8.0 is needed"));
  }
  return device;
}

absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaOptions& options) {
  return cuda::CudaBackend::Create(options);
}

}  // namespace longleaf::kernels
