// Whether a model bears weights and activations in fp8. Most do; some have a few activations so
// much larger than the rest that one scale for a row leaves the others three bits or none. So a
// server that is asked for fp8 first lets the model read a fixed text in bf16 and in fp8, and
// starts only when the next tokens that it expects are nearly the same.
#ifndef LONGLEAF_MODEL_FP8_CHECK_H_
#define LONGLEAF_MODEL_FP8_CHECK_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "model/transformer.h"

namespace longleaf::model {

// How far the next-token distributions after each position of a text are from those in bf16. A
// divergence is that of Kullback and Leibler, in nats: 0 for equal ones, about 0.01 on average for
// what fp8 usually does, above 1 where the model expects something else altogether.
struct FP8Accuracy {
  int64_t positions = 0;
  double mean_divergence = 0;
  double worst_divergence = 0;
  double same_choice = 0;  // share of positions with the same likeliest token

  std::string ToString() const;  // one line, for people
};

// Within these a model may be served in fp8. Measured: a mean of 0.003 and a worst of 0.03 on the
// built-in model, 0.007 and 0.1 on random ones; where one channel is 2^20 times the others, whole
// nats.
inline constexpr double kMostMeanDivergence = 0.05;
inline constexpr double kMostWorstDivergence = 1;

// Some two hundred words of plain prose.
std::string_view FP8CheckText();

// Of logits in bf16 and in fp8, both [positions, vocab].
FP8Accuracy CompareLogits(absl::Span<const float> bf16, absl::Span<const float> fp8, int64_t vocab);

// Loads the model of `directory` onto `backend` twice, one after the other, in bf16 and in fp8, and
// compares them over `tokens` (of FP8CheckText), of which it takes no more than the model's context
// holds. Of `options` the attention policy and the type of states count. Leaves nothing behind but
// the backend's own scratch memory: give it a backend of its own. Errors as Transformer::Load and
// Transformer::Forward; UNIMPLEMENTED where the backend has no fp8; INVALID_ARGUMENT without
// tokens.
absl::StatusOr<FP8Accuracy> MeasureFP8(const std::string& directory, kernels::Backend* backend,
                                       const TransformerOptions& options,
                                       absl::Span<const int32_t> tokens);

// FAILED_PRECONDITION, with the figures, for a model that should not be served in fp8.
absl::Status CheckFP8(const FP8Accuracy& accuracy);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_FP8_CHECK_H_
