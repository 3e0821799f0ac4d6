#include "service/bench/samples.h"

#include <algorithm>
#include <cmath>

namespace longleaf::service::bench {
namespace {

constexpr double kLeast = 1e-7;   // the first bucket's lower edge, seconds
constexpr double kGrowth = 1.01;  // so that a bucket's middle is within half a percent
constexpr double kMost = 1e5;

size_t BucketCount() {
  return static_cast<size_t>(std::log(kMost / kLeast) / std::log(kGrowth)) + 1;
}

}  // namespace

void Samples::Add(double value, int64_t times) {
  if (times <= 0) {
    return;
  }
  least_ = count_ == 0 ? value : std::min(least_, value);
  greatest_ = count_ == 0 ? value : std::max(greatest_, value);
  count_ += times;
  sum_ += value * static_cast<double>(times);
  if (exact() && static_cast<size_t>(count_) <= most_exact_) {
    values_.insert(values_.end(), static_cast<size_t>(times), value);
    return;
  }
  if (exact()) {
    buckets_.resize(BucketCount());
    for (const double kept : values_) {
      AddToBucket(kept, 1);
    }
    values_ = {};
  }
  AddToBucket(value, times);
}

void Samples::AddToBucket(double value, int64_t times) {
  const double index = std::log(std::max(value, kLeast) / kLeast) / std::log(kGrowth);
  const double last = static_cast<double>(buckets_.size() - 1);
  buckets_[static_cast<size_t>(std::min(index, last))] += times;
}

double Samples::Quantile(double q) const {
  if (count_ == 0) {
    return 0;
  }
  // The small slack takes back what q * count gained by rounding: 0.95 of 20 is the 19th.
  const double wanted = std::ceil(q * static_cast<double>(count_) - 1e-9);
  const int64_t rank = std::clamp<int64_t>(static_cast<int64_t>(wanted), 1, count_);
  if (exact()) {
    std::vector<double> sorted = values_;
    const auto at = sorted.begin() + (rank - 1);
    std::nth_element(sorted.begin(), at, sorted.end());
    return *at;
  }
  int64_t seen = 0;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    seen += buckets_[i];
    if (seen >= rank) {
      const double middle = kLeast * std::pow(kGrowth, static_cast<double>(i) + 0.5);
      return std::clamp(middle, least_, greatest_);
    }
  }
  return greatest_;
}

}  // namespace longleaf::service::bench
