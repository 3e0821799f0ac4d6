#include "service/bench/axis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace longleaf::service::bench {
namespace {

using Ticks = std::vector<double>;

TEST(AxisTest, LinearTicksAreRoundAndCoverTheValues) {
  EXPECT_EQ(Axis({3, 47}, Scale::kLinear).ticks(), (Ticks{0, 10, 20, 30, 40, 50}));
  EXPECT_EQ(Axis({5009}, Scale::kLinear).ticks(), (Ticks{0, 2000, 4000, 6000}));
  EXPECT_EQ(Axis({}, Scale::kLinear).least(), 0);
  const Axis axis({1, 4}, Scale::kLinear);
  EXPECT_EQ(axis.Position(0), 0);
  EXPECT_EQ(axis.Position(axis.most()), 1);
  EXPECT_EQ(axis.Position(2), 0.5);
  EXPECT_EQ(axis.Position(99), 1);
}

TEST(AxisTest, LogTicksAreRoundAndCoverTheValues) {
  EXPECT_EQ(Axis({1, 16}, Scale::kLog).ticks(), (Ticks{1, 2, 5, 10, 20}));
  EXPECT_EQ(Axis({0.03, 0.4}, Scale::kLog).ticks(), (Ticks{0.02, 0.05, 0.1, 0.2, 0.5}));
  EXPECT_EQ(Axis({1, 1e6}, Scale::kLog).ticks(), (Ticks{1, 10, 100, 1e3, 1e4, 1e5, 1e6}));
  const Axis axis({1, 100}, Scale::kLog);
  EXPECT_NEAR(axis.Position(10), 0.5, 1e-12);
  EXPECT_EQ(axis.Position(0), 0);
}

TEST(AxisTest, AnyValuesGiveAnAxis) {
  const double infinite = std::numeric_limits<double>::infinity();
  for (const Ticks& values : {Ticks{}, Ticks{0}, Ticks{-1}, Ticks{1}, Ticks{7}, Ticks{1e-9, 1e9},
                              Ticks{std::nan(""), infinite, 3}}) {
    for (const Scale scale : {Scale::kLinear, Scale::kLog}) {
      const Axis axis(values, scale);
      EXPECT_LT(axis.least(), axis.most());
      EXPECT_GE(axis.ticks().size(), 2);
      for (const double value : values) {
        if (std::isfinite(value) && value > 0) {
          EXPECT_LE(axis.least(), value);
          EXPECT_GE(axis.most(), value);
        }
      }
    }
  }
}

TEST(AxisTest, LabelsAreShort) {
  EXPECT_EQ(Axis::Label(0), "0");
  EXPECT_EQ(Axis::Label(0.05), "0.05");
  EXPECT_EQ(Axis::Label(5000), "5000");
  EXPECT_EQ(Axis::Label(20000), "20k");
  EXPECT_EQ(Axis::Label(1.5e6), "1.5M");
}

}  // namespace
}  // namespace longleaf::service::bench
