#include "service/bench/scrape.h"

#include <gtest/gtest.h>

namespace longleaf::service::bench {
namespace {

TEST(ScrapeTest, AddsUpTheSeriesOfAName) {
  const Counters counters = ParseMetrics(
      "# HELP a_total What a counts\n"
      "# TYPE a_total counter\n"
      "a_total{kind=\"x\"} 2\n"
      "a_total{kind=\"y } z\"} 3.5 1700000000\n"
      "b_total 1e3\n"
      "b_totals 4\r\n"
      "c NaNsense\n"
      "broken{ 1\n"
      "alone\n"
      "\n");
  EXPECT_EQ(counters, (Counters{{"a_total", 5.5}, {"b_total", 1000}, {"b_totals", 4}}));
}

TEST(ScrapeTest, SaysWhatIsWrong) {
  EXPECT_EQ(Scrape("nowhere").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Scrape("127.0.0.1:1").status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace longleaf::service::bench
