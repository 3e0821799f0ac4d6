#include "service/cli/quantity.h"

#include <gtest/gtest.h>

#include <limits>

namespace longleaf::service::cli {
namespace {

TEST(ParseDuration, AcceptsUnitsInOrder) {
  const std::pair<const char*, absl::Duration> cases[] = {
      {"24h", absl::Hours(24)},
      {"7d", absl::Hours(7 * 24)},
      {"90s", absl::Seconds(90)},
      {"1h30m", absl::Minutes(90)},
      {"1.5s", absl::Milliseconds(1500)},
      {"500ms", absl::Milliseconds(500)},
      {"1d2h3m4s5ms",
       absl::Hours(26) + absl::Minutes(3) + absl::Seconds(4) + absl::Milliseconds(5)},
  };
  for (const auto& [text, expected] : cases) {
    const absl::StatusOr<absl::Duration> parsed = ParseDuration(text);
    ASSERT_TRUE(parsed.ok()) << text;
    EXPECT_LT(absl::AbsDuration(*parsed - expected), absl::Microseconds(1)) << text;
  }
}

TEST(ParseDuration, RefusesWhatIsNotOne) {
  for (const char* text : {"", "5", "h", "-5s", "0s", "5 s", "5x", "1m1h", "1s1s", "1..5s", "inf",
                           "1e3s", "99999999d", "5sx", ".s", "1h30"}) {
    const absl::StatusOr<absl::Duration> parsed = ParseDuration(text);
    EXPECT_TRUE(absl::IsInvalidArgument(parsed.status())) << "'" << text << "'";
  }
}

TEST(FormatSpan, TwoUnitsAtMost) {
  EXPECT_EQ(FormatSpan(absl::Microseconds(2600)), "3 ms");
  EXPECT_EQ(FormatSpan(absl::Milliseconds(100)), "0.10 s");
  EXPECT_EQ(FormatSpan(absl::Milliseconds(214)), "0.21 s");
  EXPECT_EQ(FormatSpan(absl::Milliseconds(996)), "1.0 s");
  EXPECT_EQ(FormatSpan(absl::Milliseconds(9940)), "9.9 s");
  EXPECT_EQ(FormatSpan(absl::Milliseconds(9960)), "10 s");
  EXPECT_EQ(FormatSpan(absl::Seconds(59.4)), "59 s");
  EXPECT_EQ(FormatSpan(absl::Seconds(59.6)), "1 min 00 s");
  EXPECT_EQ(FormatSpan(absl::Seconds(144)), "2 min 24 s");
  EXPECT_EQ(FormatSpan(absl::Seconds(3599.7)), "1 h 00 min");
  EXPECT_EQ(FormatSpan(absl::Minutes(65)), "1 h 05 min");
  EXPECT_EQ(FormatSpan(absl::Hours(76)), "3 d 4 h");
  EXPECT_EQ(FormatSpan(-absl::Seconds(1)), "0 ms");
  EXPECT_EQ(FormatSpan(absl::InfiniteDuration()), "forever");
}

TEST(FormatCount, SeparatesThousands) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(1234567), "1,234,567");
  EXPECT_EQ(FormatCount(-1234), "-1,234");
  EXPECT_EQ(FormatCount(-123), "-123");
  EXPECT_EQ(FormatCount(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(FormatBytes, ThreeDigitsOrSo) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1000), "1.00 kB");
  EXPECT_EQ(FormatBytes(12345), "12.3 kB");
  EXPECT_EQ(FormatBytes(123456), "123 kB");
  EXPECT_EQ(FormatBytes(999600), "1.00 MB");
  EXPECT_EQ(FormatBytes(1.25e9), "1.25 GB");
  EXPECT_EQ(FormatBytes(-1), "0 B");
}

}  // namespace
}  // namespace longleaf::service::cli
