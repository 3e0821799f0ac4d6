#include "service/bench/arrivals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace longleaf::service::bench {
namespace {

std::vector<double> Gaps(double rate, uint64_t seed, int count) {
  PoissonArrivals arrivals(rate, seed);
  std::vector<double> gaps;
  double last = 0;
  for (int i = 0; i < count; ++i) {
    const double at = arrivals.Next();
    gaps.push_back(at - last);
    last = at;
  }
  return gaps;
}

TEST(ArrivalsTest, GapsAreExponential) {
  constexpr int kCount = 100'000;
  double sum = 0;
  double squares = 0;
  int longer_than_mean = 0;
  for (const double gap : Gaps(4, 7, kCount)) {
    ASSERT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
    longer_than_mean += gap > 0.25 ? 1 : 0;
  }
  // Mean 1/rate, as large as the standard deviation; e^-1 of all are longer. Five standard errors.
  const double mean = sum / kCount;
  EXPECT_NEAR(mean, 0.25, 5 * 0.25 / std::sqrt(kCount));
  EXPECT_NEAR(std::sqrt(squares / kCount - mean * mean), 0.25, 0.005);
  EXPECT_NEAR(static_cast<double>(longer_than_mean) / kCount, std::exp(-1), 0.008);
}

TEST(ArrivalsTest, TheSeedDecides) {
  EXPECT_EQ(Gaps(2, 1, 50), Gaps(2, 1, 50));
  EXPECT_NE(Gaps(2, 1, 50), Gaps(2, 2, 50));
  // The rate only stretches time.
  const std::vector<double> slow = Gaps(1, 1, 50);
  const std::vector<double> fast = Gaps(10, 1, 50);
  for (size_t i = 0; i < slow.size(); ++i) {
    EXPECT_NEAR(slow[i], 10 * fast[i], 1e-9);
  }
}

}  // namespace
}  // namespace longleaf::service::bench
