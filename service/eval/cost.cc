#include "service/eval/cost.h"

namespace longleaf::service::eval {
namespace {

using kernels::AttentionPolicy;
using kernels::StateShape;

// Keys that query `i` (1-based) is compared with.
int64_t Visible(const AttentionPolicy& policy, int64_t i) {
  return policy.CoresVisible(i) + i - policy.FirstRaw(i);
}

}  // namespace

PrefillCost CostOfPrefill(const ModelSize& size, int64_t tokens) {
  const StateShape& shape = size.shape;
  const auto d = static_cast<double>(shape.head_dim);
  const double query_width = static_cast<double>(shape.query_heads) * d;
  const double qkv_width = query_width + 2 * static_cast<double>(shape.kv_heads) * d;
  const auto hidden = static_cast<double>(size.hidden);
  const double rest = hidden * query_width + 3 * hidden * static_cast<double>(size.intermediate);
  const auto layers = static_cast<double>(shape.layers);
  const auto rows = static_cast<double>(tokens);

  double pairs = 0;
  for (int64_t i = 1; i <= tokens; ++i) pairs += static_cast<double>(Visible(shape.policy, i));
  const auto last_pairs = static_cast<double>(Visible(shape.policy, tokens));

  PrefillCost cost;
  cost.linear = 2 * (layers * rows * hidden * qkv_width + ((layers - 1) * rows + 1) * rest +
                     hidden * static_cast<double>(size.vocab));
  cost.attention = 4 * query_width * ((layers - 1) * pairs + last_pairs);
  return cost;
}

}  // namespace longleaf::service::eval
