// The argument checks that every backend makes, so that all of them refuse the same calls with the
// same words. Each returns INVALID_ARGUMENT (UNIMPLEMENTED for an element type nobody takes).
#ifndef LONGLEAF_KERNELS_CHECKS_H_
#define LONGLEAF_KERNELS_CHECKS_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

// Rows of a batch, summed.
struct BatchTotals {
  int64_t rows = 0;     // R
  int64_t outputs = 0;  // O
};
BatchTotals TotalsOf(Batch batch);

absl::Status CheckStateShape(const StateShape& shape);
// `tensor` is [rows, cols] and has memory, unless it is empty.
absl::Status CheckTensor(absl::string_view name, const Tensor& tensor, int64_t rows, int64_t cols);
absl::Status CheckWeightView(const WeightView& view);
absl::Status CheckPackMatrix(absl::Span<const WeightView> parts, Epilogue epilogue,
                             WeightFormat format);
absl::Status CheckMatrixShape(const MatrixShape& shape);
absl::Status CheckCopyVector(const WeightView& vector);
absl::Status CheckAllocate(int64_t rows, int64_t cols);
absl::Status CheckEmbed(const WeightView& table, absl::Span<const int32_t> tokens,
                        const Tensor& out);
absl::Status CheckLinear(const MatrixShape& weight, const Tensor& in, const RmsNorm& norm,
                         const Tensor& out);
absl::Status CheckAddLinear(const MatrixShape& weight, const Tensor& in, const Tensor& x);
absl::Status CheckFeedForward(const Tensor& x, const RmsNorm& norm, const MatrixShape& gate_up,
                              const MatrixShape& down);
absl::Status CheckGatherRows(const Tensor& in, absl::Span<const int64_t> indices,
                             const Tensor& out);
absl::Status CheckSample(const Tensor& logits, absl::Span<const SampleRequest> requests);

// Items of one batch: states given and all different, rows and outputs in range.
absl::Status CheckBatch(Batch batch);
// All states of `batch` have equal shapes, `layer` exists, and the activations fit them. CheckBatch
// has been passed.
absl::Status CheckRotaryAppendPool(int64_t layer, Batch batch, const Rotary& rotary,
                                   const Tensor& qkv);
absl::Status CheckAttention(int64_t layer, Batch batch, Rows rows, const Tensor& qkv,
                            const Tensor& out);

// FAILED_PRECONDITION unless `layer` (which exists) of the state, or of all states, is ready.
absl::Status CheckLayerReady(const State& state, int64_t layer);
absl::Status CheckLayerReady(Batch batch, int64_t layer);

// A range of core or raw tokens of one layer and the bytes for it.
absl::Status CheckRange(const State& state, int64_t layer, StatePart part, int64_t first,
                        int64_t count, size_t bytes);
absl::Status CheckPrepareImport(const State& state, int64_t tokens, int64_t first_raw);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CHECKS_H_
