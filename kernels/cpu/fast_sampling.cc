// Sampling with vectorised passes.
#include "kernels/cpu/fast_sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
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

// Candidates are found by a histogram over how far below the largest logit they lie, in units of
// the temperature: kFine buckets to a factor of e, everything far out in the last bucket.
constexpr float kFine = 64;
constexpr size_t kBuckets = 2048;

struct Row {
  absl::Span<const float> logits;  // penalised
  float largest = 0;
  double temperature = 1;

  size_t BucketOf(size_t id) const {
    const float below = (largest - logits[id]) * (kFine / static_cast<float>(temperature));
    // Also where the product overflows.
    return below < static_cast<float>(kBuckets - 1) ? static_cast<size_t>(below) : kBuckets - 1;
  }
  double WeightOf(size_t id) const {
    return std::exp((double{logits[id]} - double{largest}) / temperature);
  }
  bool Before(int32_t a, int32_t b) const {
    const float la = logits[static_cast<size_t>(a)], lb = logits[static_cast<size_t>(b)];
    return la > lb || (la == lb && a < b);
  }
};

// The last bucket that can hold a kept token. `total` is the mass that top_p takes its share of;
// under top_k nobody knows it yet, and top_p bounds nothing.
size_t LastBucket(const Row& row, const std::vector<float>& weights, double total,
                  const SampleRequest& request) {
  std::vector<int64_t> counts(kBuckets, 0);
  std::vector<double> masses(kBuckets, 0.0);
  for (size_t id = 0; id < weights.size(); ++id) {
    const size_t bucket = row.BucketOf(id);
    ++counts[bucket];
    masses[bucket] += double{weights[id]};
  }
  // A little more than the share, for the rounding of the sums.
  const double enough = request.top_p < 1 && request.top_k == 0
                            ? static_cast<double>(request.top_p) * total * (1 + 1e-5)
                            : std::numeric_limits<double>::infinity();
  int64_t count = 0;
  double mass = 0;
  for (size_t bucket = 0; bucket + 1 < kBuckets; ++bucket) {
    count += counts[bucket];
    mass += masses[bucket];
    const double least = std::exp(-static_cast<double>(bucket + 1) / double{kFine});
    if ((request.top_k > 0 && count >= request.top_k) || mass >= enough ||
        least < 0.99 * static_cast<double>(request.min_p)) {
      return bucket;
    }
  }
  return kBuckets - 1;
}

// Drops from `ranked` (by falling logit) what the three cuts drop.
void Cut(const Row& row, const SampleRequest& request, double total, std::vector<int32_t>& ranked) {
  if (request.top_k > 0 && static_cast<int64_t>(ranked.size()) > request.top_k) {
    ranked.resize(static_cast<size_t>(request.top_k));
  }
  while (ranked.size() > 1 &&
         row.WeightOf(static_cast<size_t>(ranked.back())) < static_cast<double>(request.min_p)) {
    ranked.pop_back();
  }
  if (request.top_p >= 1) return;
  if (request.top_k > 0) {
    total = 0;
    for (int32_t id : ranked) total += row.WeightOf(static_cast<size_t>(id));
  }
  double sum = 0;
  for (size_t rank = 0; rank < ranked.size(); ++rank) {
    sum += row.WeightOf(static_cast<size_t>(ranked[rank]));
    if (sum >= static_cast<double>(request.top_p) * total) {
      ranked.resize(rank + 1);
      return;
    }
  }
}

int32_t Choose(const Row& row, const SampleRequest& request) {
  const int64_t size = static_cast<int64_t>(row.logits.size());
  if (request.temperature == 0) {
    return static_cast<int32_t>(std::find(row.logits.begin(), row.logits.end(), row.largest) -
                                row.logits.begin());
  }
  std::vector<float> weights(row.logits.size());
  double total = HWY_DYNAMIC_DISPATCH(Exponentials)(row.logits.data(), size, row.largest,
                                                    1.0f / request.temperature, weights.data());
  if (request.top_k == 0 && request.top_p >= 1 && request.min_p == 0) {
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
  if (request.min_p > 0) {
    total = 0;
    for (float weight : weights) total += weight < request.min_p ? 0.0 : double{weight};
  }
  const size_t bucket = LastBucket(row, weights, total, request);
  std::vector<int32_t> kept;
  for (size_t id = 0; id < weights.size(); ++id) {
    if (row.BucketOf(id) <= bucket) kept.push_back(static_cast<int32_t>(id));
  }
  std::sort(kept.begin(), kept.end(), [&](int32_t a, int32_t b) { return row.Before(a, b); });
  Cut(row, request, total, kept);
  std::sort(kept.begin(), kept.end());
  std::vector<double> sums;  // running, by rising id
  sums.reserve(kept.size());
  double sum = 0;
  for (int32_t id : kept) sums.push_back(sum += row.WeightOf(static_cast<size_t>(id)));
  const auto at = std::upper_bound(sums.begin(), sums.end(), request.uniform * sum);
  return kept[std::min(static_cast<size_t>(at - sums.begin()), kept.size() - 1)];
}

// The `count` most probable tokens, best first.
std::vector<int32_t> Best(absl::Span<const float> logits, size_t count) {
  const Row row{logits, 0, 1};
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

  Row row{logits, largest, static_cast<double>(request.temperature)};
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
