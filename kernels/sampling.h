// What it means to choose the next token from one row of logits: the definition that backends
// reproduce.
//
//   1. repetition penalty: logits of the penalised tokens, once each, divided (positive) or
//      multiplied (negative) by it
//   2. temperature 0: the largest of those, ties to the lowest id. Otherwise p = softmax(l / T) and
//      the tokens are ranked by falling l, ties by rising id
//   3. top_k keeps the first k ranks; min_p drops what is below min_p * the largest p; top_p keeps
//      the fewest first ranks whose share of what is left reaches top_p
//   4. the kept tokens are walked in order of their ids: the first one at which the sum of p
//   exceeds
//      uniform * (sum over all kept) is the choice
//
// Log-probabilities are those of the model's own distribution: softmax of the row as it came.
#ifndef LONGLEAF_KERNELS_SAMPLING_H_
#define LONGLEAF_KERNELS_SAMPLING_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

// The definition in double arithmetic with a full sort. `request` is valid (CheckSample). INTERNAL
// when a logit is NaN or +infinity, or all are -infinity: no distribution is there to sample from.
absl::StatusOr<SampleResult> SampleReference(absl::Span<const float> logits,
                                             const SampleRequest& request);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_SAMPLING_H_
