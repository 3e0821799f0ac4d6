#include "service/eval/clustered_mean.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace longleaf::service::eval {
namespace {

struct Moments {
  double mean = 0;
  double variance = 0;  // of the mean, CR1; 0 with fewer than two clusters
  int64_t count = 0;
  int64_t clusters = 0;
};

// CR1: G/(G-1) * sum over clusters of (sum of residuals)^2 / n^2.
Moments MomentsOf(absl::Span<const Observation> observations) {
  Moments moments;
  moments.count = static_cast<int64_t>(observations.size());
  if (observations.empty()) return moments;
  const auto n = static_cast<double>(observations.size());
  double sum = 0;
  for (const Observation& one : observations) sum += one.value;
  moments.mean = sum / n;
  std::map<int64_t, double> residuals;
  for (const Observation& one : observations) residuals[one.cluster] += one.value - moments.mean;
  moments.clusters = static_cast<int64_t>(residuals.size());
  if (moments.clusters < 2) return moments;
  double squares = 0;
  for (const auto& [cluster, residual] : residuals) squares += residual * residual;
  const auto groups = static_cast<double>(moments.clusters);
  moments.variance = groups / (groups - 1) * squares / (n * n);
  return moments;
}

// Wilson 1927: the proportions that an observed `mean` of `n` answers does not rule out.
Estimate Wilson(const Moments& moments, double mean, double n, double t) {
  const double centre = mean + t * t / (2 * n);
  const double half = t * std::sqrt(mean * (1 - mean) / n + t * t / (4 * n * n));
  const double scale = 1 + t * t / n;
  return {mean, std::max(0.0, (centre - half) / scale), std::min(1.0, (centre + half) / scale),
          moments.count, moments.clusters};
}

}  // namespace

double StudentQuantile(int64_t degrees) {
  // Too heavy in the tails for the expansion.
  constexpr double kFirst[] = {12.7062, 4.3027, 3.1824};
  if (degrees <= 3) return kFirst[std::max<int64_t>(1, degrees) - 1];
  // Abramowitz and Stegun 26.7.5.
  const double z = 1.959964;
  const auto v = static_cast<double>(degrees);
  const double z3 = z * z * z;
  const double z5 = z3 * z * z;
  const double z7 = z5 * z * z;
  return z + (z3 + z) / (4 * v) + (5 * z5 + 16 * z3 + 3 * z) / (96 * v * v) +
         (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * v * v * v);
}

Estimate EstimateProportion(absl::Span<const Observation> observations) {
  const Moments moments = MomentsOf(observations);
  if (moments.count == 0) return {};
  const double mean = std::clamp(moments.mean, 0.0, 1.0);
  if (moments.clusters == 1) return Wilson(moments, mean, 1, StudentQuantile(1));
  auto effective = static_cast<double>(moments.count);
  if (moments.variance > 0) {
    effective = std::min(effective, mean * (1 - mean) / moments.variance);
  }
  return Wilson(moments, mean, effective, StudentQuantile(moments.clusters - 1));
}

Estimate EstimateDifference(absl::Span<const Observation> observations) {
  const Moments moments = MomentsOf(observations);
  if (moments.count == 0) return {};
  const double t = StudentQuantile(std::max<int64_t>(1, moments.clusters - 1));
  double half = t * std::sqrt(moments.variance);
  const bool none = std::all_of(observations.begin(), observations.end(),
                                [](const Observation& one) { return one.value == 0; });
  if (moments.clusters < 2) {
    half = 2;
  } else if (none) {
    half = Wilson(moments, 0, static_cast<double>(moments.count), t).high;
  }
  return {moments.mean, std::max(-1.0, moments.mean - half), std::min(1.0, moments.mean + half),
          moments.count, moments.clusters};
}

}  // namespace longleaf::service::eval
