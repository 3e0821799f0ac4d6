// Sampling as the definition says it: sort everything, in double.
#include "kernels/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "absl/status/status.h"

namespace longleaf::kernels {
namespace {

constexpr float kLargestFloat = std::numeric_limits<float>::max();

// Ids by falling logit, ties by rising id.
std::vector<int32_t> Ranked(const std::vector<float>& logits) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  return order;
}

// The ranks that the three cuts leave, as a prefix of `p` (probabilities by falling rank).
size_t KeptPrefix(const std::vector<double>& p, const SampleRequest& request) {
  size_t kept = p.size();
  if (request.top_k > 0) kept = std::min(kept, static_cast<size_t>(request.top_k));
  while (kept > 1 && p[kept - 1] < static_cast<double>(request.min_p) * p[0]) --kept;
  if (request.top_p >= 1) return kept;
  const double total = std::accumulate(p.begin(), p.begin() + static_cast<ptrdiff_t>(kept), 0.0);
  double sum = 0;
  for (size_t rank = 0; rank < kept; ++rank) {
    sum += p[rank];
    if (sum >= static_cast<double>(request.top_p) * total) return rank + 1;
  }
  return kept;
}

int32_t Choose(const std::vector<float>& logits, const SampleRequest& request) {
  const std::vector<int32_t> order = Ranked(logits);
  if (request.temperature == 0) return order[0];
  const double largest = logits[static_cast<size_t>(order[0])];
  std::vector<double> p(order.size());
  for (size_t rank = 0; rank < order.size(); ++rank) {
    const double logit = logits[static_cast<size_t>(order[rank])];
    p[rank] = std::exp((logit - largest) / static_cast<double>(request.temperature));
  }
  const size_t kept = KeptPrefix(p, request);
  std::vector<double> by_id(logits.size(), 0.0);
  double total = 0;
  for (size_t rank = 0; rank < kept; ++rank) {
    by_id[static_cast<size_t>(order[rank])] = p[rank];
    total += p[rank];
  }
  double sum = 0;
  int32_t last = order[0];
  for (size_t id = 0; id < by_id.size(); ++id) {
    if (by_id[id] == 0) continue;
    last = static_cast<int32_t>(id);
    sum += by_id[id];
    if (sum > request.uniform * total) break;
  }
  return last;
}

}  // namespace

absl::StatusOr<SampleResult> SampleReference(absl::Span<const float> logits,
                                             const SampleRequest& request) {
  float largest = -std::numeric_limits<float>::infinity();
  for (float logit : logits) {
    if (std::isnan(logit)) return absl::InternalError("a logit is not a number");
    largest = std::max(largest, logit);
  }
  if (!std::isfinite(largest)) return absl::InternalError("the largest logit is not finite");
  double sum = 0;
  for (float logit : logits) sum += std::exp(double{logit} - double{largest});
  const double log_sum = double{largest} + std::log(sum);
  const auto logprob = [&](int32_t token) {
    return static_cast<float>(double{logits[static_cast<size_t>(token)]} - log_sum);
  };

  std::vector<float> penalised(logits.begin(), logits.end());
  for (int32_t token : std::set<int32_t>(request.penalised.begin(), request.penalised.end())) {
    float& logit = penalised[static_cast<size_t>(token)];
    logit = logit > 0 ? std::min(logit / request.repetition_penalty, kLargestFloat)
                      : logit * request.repetition_penalty;
  }
  SampleResult result;
  result.token = Choose(penalised, request);
  result.logprob = logprob(result.token);
  if (request.top_logprobs > 0) {
    const std::vector<int32_t> order = Ranked({logits.begin(), logits.end()});
    for (int32_t token : order) {
      if (static_cast<int64_t>(result.top.size()) == request.top_logprobs) break;
      result.top.push_back({token, logprob(token)});
    }
  }
  return result;
}

}  // namespace longleaf::kernels
