// Several answers on one state at once, as the server's steps run them, but without the server: the
// rate that gRPC and scheduling are measured against.
#ifndef LONGLEAF_SERVICE_EVAL_BENCH_BATCH_H_
#define LONGLEAF_SERVICE_EVAL_BENCH_BATCH_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "service/eval/session.h"

namespace longleaf::service::eval {

struct BatchPlan {
  int64_t branches = 0;
  int64_t question_tokens = 0;
  int64_t answer_tokens = 0;  // of each branch, the first one after its question included
  float temperature = 0;      // of sampling; 0: greedy
};

// Of all rounds: a round reads a question on every branch and then generates, one token of each
// branch a step, until all answers are complete.
struct BatchResult {
  int64_t rounds = 0;
  int64_t answer_tokens = 0;  // of all rounds and branches
  int64_t decode_tokens = 0;  // of them, those of steps without a question
  double seconds = 0;
  double decode_seconds = 0;  // of those steps
};

// As many rounds as take a second or more. The session must allow `branches` wanted outputs, and
// as many rows in a step.
absl::StatusOr<BatchResult> RunBatch(Session& session, const kernels::State& document,
                                     const BatchPlan& plan);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_BENCH_BATCH_H_
