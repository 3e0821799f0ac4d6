// The slow, obvious meaning of each Backend operation. Never optimised: tests hold the other
// backends against it, and sanitized thread tests run on it (it has no threads of its own).
//
// Activations are float32; sums run in double. States are plain vectors: a branch is a
// copy, and `state_bytes` counts exactly the tokens held.
#ifndef LONGLEAF_KERNELS_REFERENCE_H_
#define LONGLEAF_KERNELS_REFERENCE_H_

#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"

namespace longleaf::kernels {

// See class Backend for every contract.
class ReferenceBackend : public Backend {
 public:
  explicit ReferenceBackend(int64_t state_capacity_bytes) {
    memory_.state_capacity_bytes = state_capacity_bytes;
  }

  std::string name() const override { return "reference"; }
  BackendMemory memory() const override { return memory_; }

  absl::StatusOr<std::unique_ptr<Matrix>> PackMatrix(absl::Span<const WeightView> parts,
                                                     Epilogue epilogue,
                                                     WeightFormat format) override;
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
  BackendMemory memory_;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_REFERENCE_H_
