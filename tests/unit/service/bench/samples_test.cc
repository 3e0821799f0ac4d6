#include "service/bench/samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace longleaf::service::bench {
namespace {

TEST(SamplesTest, QuantilesAreNearestRank) {
  Samples samples;
  for (const int value : {15, 20, 35, 40, 50}) {
    samples.Add(value);
  }
  EXPECT_EQ(samples.Quantile(0.05), 15);
  EXPECT_EQ(samples.Quantile(0.20), 15);
  EXPECT_EQ(samples.Quantile(0.21), 20);
  EXPECT_EQ(samples.Quantile(0.50), 35);
  EXPECT_EQ(samples.Quantile(0.99), 50);
  EXPECT_EQ(samples.Quantile(1), 50);
  EXPECT_EQ(samples.mean(), 32);
  EXPECT_EQ(samples.least(), 15);
  EXPECT_EQ(samples.greatest(), 50);
}

TEST(SamplesTest, RankIsNotRoundedUpByRounding) {
  Samples samples;
  for (int i = 100; i >= 1; --i) {
    samples.Add(i);
  }
  for (const int percent : {1, 7, 29, 50, 55, 57, 58, 95, 99, 100}) {
    EXPECT_EQ(samples.Quantile(percent / 100.0), percent);
  }
}

TEST(SamplesTest, NoSampleIsZeroAndNoTimesIsNoSample) {
  Samples samples;
  samples.Add(3, 0);
  EXPECT_EQ(samples.count(), 0);
  EXPECT_EQ(samples.Quantile(0.99), 0);
  EXPECT_EQ(samples.mean(), 0);
}

TEST(SamplesTest, TimesCountLikeSoManySamples) {
  Samples samples;
  samples.Add(1, 98);
  samples.Add(9, 2);
  EXPECT_EQ(samples.count(), 100);
  EXPECT_EQ(samples.Quantile(0.98), 1);
  EXPECT_EQ(samples.Quantile(0.99), 9);
  EXPECT_NEAR(samples.mean(), 1.16, 1e-12);
}

TEST(SamplesTest, AboveTheBoundQuantilesAreRightToHalfAPercent) {
  Samples bounded(1000);
  std::vector<double> all;
  std::mt19937_64 random(1);
  for (int i = 0; i < 50'000; ++i) {
    // From microseconds to minutes.
    const double value = std::exp(static_cast<double>(random() % 18'000) / 1000 - 13);
    bounded.Add(value);
    all.push_back(value);
    ASSERT_EQ(bounded.exact(), i < 1000);
  }
  std::sort(all.begin(), all.end());
  for (const double q : {0.001, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999}) {
    const double exact = all[static_cast<size_t>(std::ceil(q * 50'000)) - 1];
    EXPECT_NEAR(bounded.Quantile(q), exact, 0.0051 * exact) << q;
  }
  EXPECT_EQ(bounded.Quantile(1), all.back());
  EXPECT_EQ(bounded.least(), all.front());
}

TEST(SamplesTest, TheHistogramTakesWhatLiesOutsideIt) {
  Samples bounded(0);
  bounded.Add(0);
  bounded.Add(1e9);
  EXPECT_FALSE(bounded.exact());
  EXPECT_EQ(bounded.count(), 2);
  EXPECT_GE(bounded.Quantile(0.5), 0);
  EXPECT_LT(bounded.Quantile(0.5), 1e-6);
  EXPECT_LE(bounded.Quantile(1), 1e9);
  EXPECT_GT(bounded.Quantile(1), 1e4);
}

}  // namespace
}  // namespace longleaf::service::bench
