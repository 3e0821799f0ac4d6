// Sampling with vectorised passes.
#include "kernels/cpu/fast_sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/fast_sampling.cc"
#include "hwy/foreach_target.h"

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/cpu/for_each-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The largest of x[count], NaN if any is NaN.
HWY_ATTR float Largest(const float* x, int64_t count) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  float largest = -std::numeric_limits<float>::infinity();
  bool nan = false;
  int64_t i = 0;
  auto most = hn::Set(d, largest);
  auto sane = hn::Eq(most, most);
  for (; i + lanes <= count; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    sane = hn::And(sane, hn::Eq(v, v));
    most = hn::Max(most, v);
  }
  nan = !hn::AllTrue(d, sane);
  largest = hn::GetLane(hn::MaxOfLanes(d, most));
  for (; i < count; ++i) {
    nan = nan || std::isnan(x[i]);
    largest = std::max(largest, x[i]);
  }
  return nan ? std::numeric_limits<float>::quiet_NaN() : largest;
}

// out[i] = exp((x[i] - largest) * scale), unless out is null; returns their sum.
HWY_ATTR double Exponentials(const float* x, int64_t count, float largest, float scale,
                             float* out) {
  constexpr int64_t kBlock = 1024;  // summed in float, blocks in double
  double total = 0;
  for (int64_t first = 0; first < count; first += kBlock) {
    const hn::ScalableTag<float> wide;
    auto sum = hn::Zero(wide);
    float rest = 0;
    const int64_t size = std::min(kBlock, count - first);
    ForEach(size, [&](auto d, int64_t i) HWY_ATTR {
      const auto shifted = hn::Sub(hn::LoadU(d, x + first + i), hn::Set(d, largest));
      // Below -104 the result is 0 to f32; minus infinity must not reach Exp.
      const auto e = hn::Exp(d, hn::Max(hn::Mul(shifted, hn::Set(d, scale)), hn::Set(d, -104.0f)));
      if (out != nullptr) hn::StoreU(e, d, out + first + i);
      if constexpr (hn::MaxLanes(d) == hn::MaxLanes(wide)) {
        sum = hn::Add(sum, e);
      } else {
        rest += hn::GetLane(e);
      }
    });
    total += double{hn::GetLane(hn::SumOfLanes(wide, sum))} + double{rest};
  }
  return total;
}

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(Largest);
HWY_EXPORT(Exponentials);

namespace {

// Tokens are sorted into buckets by how far below the largest logit they lie, in units of the
// temperature: kFine buckets to a factor of e, everything far out in the last one. Only tokens of
// the few buckets where a cut can fall are ranked exactly.
constexpr float kFine = 64;
constexpr size_t kBuckets = 2048;

struct Row {
  absl::Span<const float> logits;  // penalised
  float largest = 0;

  bool Before(int32_t a, int32_t b) const {
    const float la = logits[static_cast<size_t>(a)], lb = logits[static_cast<size_t>(b)];
    return la > lb || (la == lb && a < b);
  }
};

// Tokens that are kept for certain, and those of whom some are: all ids in rising order.
struct Candidates {
  std::vector<int32_t> sure, edge;
};

class Cuts {
 public:
  Cuts(const Row& row, const SampleRequest& request, const std::vector<float>& weights,
       double total)
      : row_(row), request_(request), weights_(weights), total_(total) {
    if (request.min_p > 0) {
      total_ = 0;
      for (float weight : weights) total_ += weight < request.min_p ? 0.0 : double{weight};
    }
  }

  // The kept tokens in order of their ids.
  std::vector<int32_t> Kept() const {
    Candidates found = Find();
    Rank(found);
    std::sort(found.edge.begin(), found.edge.end());
    std::vector<int32_t> kept(found.sure.size() + found.edge.size());
    std::merge(found.sure.begin(), found.sure.end(), found.edge.begin(), found.edge.end(),
               kept.begin());
    return kept;
  }

 private:
  double WeightOf(int32_t id) const { return double{weights_[static_cast<size_t>(id)]}; }

  Candidates Find() const {
    std::vector<uint16_t> buckets(weights_.size());
    std::vector<int64_t> counts(kBuckets, 0);
    std::vector<double> masses(kBuckets, 0.0);
    const float scale = kFine / request_.temperature;
    for (size_t id = 0; id < weights_.size(); ++id) {
      const float below = (row_.largest - row_.logits[id]) * scale;
      // Also where the product overflows.
      const size_t bucket =
          below < static_cast<float>(kBuckets - 1) ? static_cast<size_t>(below) : kBuckets - 1;
      buckets[id] = static_cast<uint16_t>(bucket);
      ++counts[bucket];
      masses[bucket] += double{weights_[id]};
    }
    // Buckets before `low` are kept, buckets after `high` are not.
    size_t low = 0, high = 0;
    int64_t count = 0;
    double mass = 0;
    for (; high + 1 < kBuckets; ++high) {
      count += counts[high];
      mass += masses[high];
      const double least = std::exp(-static_cast<double>(high + 1) / double{kFine});
      if (low == high && IsWholeKept(count, mass, least)) ++low;
      if (IsLast(count, mass, least)) break;
    }
    Candidates found;
    for (size_t id = 0; id < buckets.size(); ++id) {
      if (buckets[id] > high) continue;
      (buckets[id] < low ? found.sure : found.edge).push_back(static_cast<int32_t>(id));
    }
    return found;
  }

  // Whether no cut can fall into the buckets that hold the first `count` tokens with `mass`, the
  // lightest above `least`. The margins are for the rounding of sums and exponentials.
  bool IsWholeKept(int64_t count, double mass, double least) const {
    const bool by_count = request_.top_k == 0 || count <= request_.top_k;
    const bool by_weight = least > 1.01 * double{request_.min_p};
    // Under top_k nobody knows yet what top_p takes its share of.
    const bool by_mass =
        request_.top_p >= 1 ||
        (request_.top_k == 0 && mass < double{request_.top_p} * total_ * (1 - 1e-5));
    return by_count && by_weight && by_mass;
  }
  // Whether every later token falls to a cut.
  bool IsLast(int64_t count, double mass, double least) const {
    return (request_.top_k > 0 && count >= request_.top_k) ||
           least < 0.99 * double{request_.min_p} ||
           (request_.top_k == 0 && request_.top_p < 1 &&
            mass >= double{request_.top_p} * total_ * (1 + 1e-5));
  }

  // Ranks the edge and drops from it what the three cuts drop.
  void Rank(Candidates& found) const {
    std::vector<int32_t>& edge = found.edge;
    std::sort(edge.begin(), edge.end(), [&](int32_t a, int32_t b) { return row_.Before(a, b); });
    const int64_t sure = static_cast<int64_t>(found.sure.size());
    if (request_.top_k > 0 && sure + static_cast<int64_t>(edge.size()) > request_.top_k) {
      edge.resize(static_cast<size_t>(request_.top_k - sure));
    }
    while (!edge.empty() && WeightOf(edge.back()) < double{request_.min_p}) edge.pop_back();
    if (request_.top_p >= 1) return;
    double sum = 0;
    for (int32_t id : found.sure) sum += WeightOf(id);
    double total = total_;
    if (request_.top_k > 0) {
      total = sum;
      for (int32_t id : edge) total += WeightOf(id);
    }
    for (size_t rank = 0; rank < edge.size(); ++rank) {
      sum += WeightOf(edge[rank]);
      if (sum >= double{request_.top_p} * total) {
        edge.resize(rank + 1);
        return;
      }
    }
  }

  const Row& row_;
  const SampleRequest& request_;
  const std::vector<float>& weights_;  // exp of (logit - largest) / temperature
  double total_;                       // what top_p takes its share of, unless there is top_k
};

int32_t Choose(const Row& row, const SampleRequest& request) {
  if (request.temperature == 0) {
    return static_cast<int32_t>(std::find(row.logits.begin(), row.logits.end(), row.largest) -
                                row.logits.begin());
  }
  std::vector<float> weights(row.logits.size());
  double total =
      HWY_DYNAMIC_DISPATCH(Exponentials)(row.logits.data(), static_cast<int64_t>(row.logits.size()),
                                         row.largest, 1.0f / request.temperature, weights.data());
  if (request.top_k > 0 || request.top_p < 1 || request.min_p > 0) {
    const std::vector<int32_t> kept = Cuts(row, request, weights, total).Kept();
    std::vector<float> kept_weights(weights.size(), 0.0f);
    total = 0;
    for (int32_t id : kept) {
      const size_t at = static_cast<size_t>(id);
      kept_weights[at] = weights[at];
      total += double{weights[at]};
    }
    weights = std::move(kept_weights);
  }
  double sum = 0;
  int32_t last = 0;
  for (size_t id = 0; id < weights.size(); ++id) {
    if (weights[id] == 0) continue;
    last = static_cast<int32_t>(id);
    sum += double{weights[id]};
    if (sum > request.uniform * total) break;
  }
  return last;
}

// The `count` most probable tokens, best first.
std::vector<int32_t> Best(absl::Span<const float> logits, size_t count) {
  const Row row{logits, 0};
  const auto before = [&](int32_t a, int32_t b) { return row.Before(a, b); };
  count = std::min(count, logits.size());
  std::vector<int32_t> best;  // a heap whose front is the worst
  for (size_t id = 0; id < logits.size(); ++id) {
    const int32_t token = static_cast<int32_t>(id);
    if (best.size() == count) {
      if (!before(token, best.front())) continue;
      std::pop_heap(best.begin(), best.end(), before);
      best.pop_back();
    }
    best.push_back(token);
    std::push_heap(best.begin(), best.end(), before);
  }
  std::sort_heap(best.begin(), best.end(), before);
  return best;
}

}  // namespace

absl::StatusOr<SampleResult> SampleFast(absl::Span<const float> logits,
                                        const SampleRequest& request) {
  const int64_t size = static_cast<int64_t>(logits.size());
  const float largest = HWY_DYNAMIC_DISPATCH(Largest)(logits.data(), size);
  if (std::isnan(largest)) return absl::InternalError("a logit is not a number");
  if (!std::isfinite(largest)) return absl::InternalError("the largest logit is not finite");
  const double sum =
      HWY_DYNAMIC_DISPATCH(Exponentials)(logits.data(), size, largest, 1.0f, nullptr);
  const double log_sum = double{largest} + std::log(sum);
  const auto logprob = [&](int32_t token) {
    return static_cast<float>(double{logits[static_cast<size_t>(token)]} - log_sum);
  };

  Row row{logits, largest};
  std::vector<float> penalised;
  if (!request.penalised.empty() && request.repetition_penalty != 1) {
    penalised.assign(logits.begin(), logits.end());
    // From the row as it came, so that a token given twice is penalised once.
    for (int32_t token : request.penalised) {
      const float logit = logits[static_cast<size_t>(token)];
      penalised[static_cast<size_t>(token)] =
          logit > 0
              ? std::min(logit / request.repetition_penalty, std::numeric_limits<float>::max())
              : logit * request.repetition_penalty;
    }
    row.logits = penalised;
    row.largest = HWY_DYNAMIC_DISPATCH(Largest)(penalised.data(), size);
  }
  SampleResult result;
  result.token = Choose(row, request);
  result.logprob = logprob(result.token);
  if (request.top_logprobs > 0) {
    for (int32_t token : Best(logits, static_cast<size_t>(request.top_logprobs))) {
      result.top.push_back({token, logprob(token)});
    }
  }
  return result;
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
