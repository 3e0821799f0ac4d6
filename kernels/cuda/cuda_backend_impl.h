// The class behind CreateCudaBackend. What keeps states and steps is in cuda_backend.cc, the
// operations of a step are in cuda_operations.cc.
#ifndef LONGLEAF_KERNELS_CUDA_CUDA_BACKEND_IMPL_H_
#define LONGLEAF_KERNELS_CUDA_CUDA_BACKEND_IMPL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention_mass.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_linear.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/page_pool.h"
#include "kernels/cuda/rotary_append_pool.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/sampling.h"
#include "kernels/cuda/step_graph.h"
#include "kernels/cuda/step_tables.h"
#include "kernels/cuda/transfer.h"

namespace longleaf::kernels::cuda {

// See class Backend for every contract.
class CudaBackend : public Backend {
 public:
  static absl::StatusOr<std::unique_ptr<Backend>> Create(const CudaOptions& options);
  ~CudaBackend() override;
  std::string name() const override {
    return absl::StrCat("cuda (", device_.name, ", ", device_.multiprocessors, " multiprocessors)");
  }
  BackendMemory memory() const override {
    return {weight_bytes_, activation_bytes_ + linear_->scratch_bytes() + attention_.bytes(),
            pages_.used_bytes(), pages_.capacity_bytes(), pages_.pool_bytes()};
  }

  absl::Status Usable() override {
    const absl::Status broken = Broken();
    return broken.ok() ? stream_.Synchronize() : broken;
  }

  absl::StatusOr<std::unique_ptr<Matrix>> PackMatrix(absl::Span<const WeightView> parts,
                                                     Epilogue epilogue,
                                                     WeightFormat format) override;
  // Loading is bound by the disk, not by the packing: nothing is gained by keeping packed files.
  std::string packed_layout() const override { return ""; }
  absl::StatusOr<int64_t> PackedBytes(const MatrixShape& shape) const override;
  absl::StatusOr<std::unique_ptr<Matrix>> AdoptMatrix(const MatrixShape& shape,
                                                      absl::Span<const std::byte> packed,
                                                      std::shared_ptr<const void> owner) override;
  absl::StatusOr<std::unique_ptr<Buffer>> CopyVector(const WeightView& vector) override;
  absl::StatusOr<std::unique_ptr<Buffer>> Allocate(int64_t rows, int64_t cols) override;
  absl::Status ToHost(const Tensor& from, float* out) override;

  absl::StatusOr<std::unique_ptr<State>> NewState(const StateShape& shape) override;
  absl::StatusOr<std::unique_ptr<State>> Branch(const State& parent) override;
  int64_t BytesToGrow(const State& state, int64_t rows) const override;
  absl::Status BeginStep(Batch batch) override;
  void CommitStep(Batch batch) override;
  void AbortStep(Batch batch) override;

  absl::Status Embed(const WeightView& table, absl::Span<const int32_t> tokens,
                     Tensor out) override;
  absl::Status Linear(const Matrix& weight, const Tensor& in, const RmsNorm& norm,
                      Tensor out) override;
  absl::Status AddLinear(const Matrix& weight, const Tensor& in, Tensor x) override;
  absl::Status FeedForward(Tensor x, const RmsNorm& norm, const Matrix& gate_up,
                           const Matrix& down) override;
  absl::Status RotaryAppendPool(int64_t layer, Batch batch, const Rotary& rotary,
                                Tensor qkv) override;
  absl::Status Attention(int64_t layer, Batch batch, Rows rows, const Tensor& qkv,
                         Tensor out) override;
  absl::Status GatherRows(const Tensor& in, absl::Span<const int64_t> indices, Tensor out) override;
  absl::StatusOr<std::vector<SampleResult>> Sample(
      const Tensor& logits, absl::Span<const SampleRequest> requests) override;

  absl::Status Export(const State& state, int64_t layer, StatePart part, int64_t first,
                      int64_t count, absl::Span<std::byte> out) override;
  absl::Status PrepareImport(State& state, int64_t tokens, int64_t first_raw) override;
  absl::Status Import(State& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                      absl::Span<const std::byte> in) override;

 private:
  // The operations, as parts of a graph's key.
  enum Operation : int64_t { kLinear, kAddLinear, kFeedForward, kRotary, kAttention, kGather };

  CudaBackend(const CudaOptions& options, CudaDevice device, Stream stream)
      : device_(std::move(device)),
        graphs_(options.graphs),
        stream_(std::move(stream)),
        pages_(options.state_capacity_bytes, options.poison_pages, stream_.get()),
        attention_(device_.multiprocessors, device_.compute_capability, options.hopper_attention) {}

  absl::Status Exhausted(int64_t needed) const {
    return absl::ResourceExhaustedError(
        absl::StrCat("state memory: ", needed, " bytes needed, ", pages_.used_bytes(), " of ",
                     pages_.capacity_bytes(), " in use on the device"));
  }
  // What went wrong where nobody could be told.
  // INTERNAL whatever it was: what was committed without having run cannot be made good by waiting
  // for memory.
  absl::Status Broken() const {
    const absl::Status status = failed_.ok() ? pages_.status() : failed_;
    return status.ok() ? status : absl::InternalError(status.message());
  }
  // Sends what the kernels of a step need to know to the device, once for all layers.
  absl::Status SendStep(Batch batch);
  // All that the launches of the step depend on, apart from the operations' own arguments.
  StepGraph::Key KeyOf(Batch batch) const;
  // The checks of an operation over a step; the last sent one when another is open beside it.
  absl::Status CheckStep(Batch batch, int64_t layer);
  // Puts work into the stream now, or with the rest of the step.
  absl::Status Enqueue(StepGraph::Key key, StepGraph::Operation operation);
  // Puts what has been kept back into the stream.
  absl::Status Flush() { return graph_.open() ? graph_.Run(stream_.get()) : absl::OkStatus(); }

  const CudaDevice device_;
  const bool graphs_;
  const Stream stream_;  // outlives all that works on it
  DevicePagePool pages_;
  std::unique_ptr<Transfer> transfer_;
  std::unique_ptr<CudaLinear> linear_;
  StepTables tables_;
  StepShape shape_;  // of the step that tables_ holds
  RotaryTable rotary_table_;
  Rotary rotary_;  // what the table is for; without frequencies: not yet prepared in this step
  CudaAttention attention_;
  AttentionMass mass_;
  Embedder embedder_;
  CudaSampler sampler_;
  StepGraph graph_;
  absl::Status failed_;
  int64_t weight_bytes_ = 0;
  int64_t activation_bytes_ = 0;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_CUDA_BACKEND_IMPL_H_
