// The arithmetic of a prefill: how many operations it takes. (Bytes are model/core_state.h.)
#ifndef LONGLEAF_SERVICE_EVAL_COST_H_
#define LONGLEAF_SERVICE_EVAL_COST_H_

#include <cstdint>

#include "kernels/backend.h"

namespace longleaf::service::eval {

// What the cost of a model depends on.
struct ModelSize {
  kernels::StateShape shape;  // with its attention policy
  int64_t hidden = 0;
  int64_t intermediate = 0;
  int64_t vocab = 0;
};

// Floating-point operations, a multiplication and an addition counted as two.
struct PrefillCost {
  double linear = 0;
  double attention = 0;
  double total() const { return linear + attention; }
};

// What the engine computes to read `tokens` tokens and give the logits of the last one: in the last
// layer only that token goes through attention, output projection and feed-forward. Norms, rotary
// embedding and pooling are left out: they are below a hundredth.
PrefillCost CostOfPrefill(const ModelSize& size, int64_t tokens);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_COST_H_
