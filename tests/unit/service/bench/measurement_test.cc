#include "service/bench/measurement.h"

#include <gtest/gtest.h>

#include "service/bench/figures.h"

namespace longleaf::service::bench {
namespace {

Measured Example() {
  Measured measured;
  Measurement& m = measured.load;
  m.begin = 100;
  m.end = 104;
  m.asked = 12;
  m.answered = 8;
  m.tokens = 400;
  m.answer_tokens = 390;
  m.failures = {{"QUEUE_FULL", 3}, {"CLIENT_LIMIT", 1}};
  for (int i = 1; i <= 100; ++i) {
    m.ttft.Add(i / 1000.0);
    m.itl.Add(i / 10000.0);
  }
  measured.server = {{"longleaf_weight_passes_total", 50},
                     {"longleaf_generated_tokens_total", 400}};
  return measured;
}

TEST(MeasurementTest, JsonHasWhatWasMeasured) {
  const Json json = Json::parse(ToJson(Example()).dump());
  EXPECT_EQ(json["seconds"], 4);
  EXPECT_EQ(json["asked"], 12);
  EXPECT_EQ(json["failed"], 4);
  EXPECT_EQ(json["failures"]["QUEUE_FULL"], 3);
  EXPECT_EQ(json["tokens_per_second"], 100);
  EXPECT_EQ(json["answers_per_second"], 2);
  EXPECT_EQ(json["ttft_seconds"]["count"], 100);
  EXPECT_EQ(json["ttft_seconds"]["p95"], 0.095);
  EXPECT_EQ(json["itl_seconds"]["p99"], 0.0099);
  EXPECT_EQ(json["tokens_per_weight_pass"], 8);
  EXPECT_EQ(json["server_counters"]["longleaf_weight_passes_total"], 50);
}

TEST(MeasurementTest, NothingMeasuredIsStillJson) {
  const Json json = ToJson(Measured());
  EXPECT_EQ(json["tokens_per_second"], 0);
  EXPECT_EQ(json["itl_seconds"]["p99"], 0);
  EXPECT_FALSE(json.contains("tokens_per_weight_pass"));
}

TEST(MeasurementTest, TableCellsMatchTheirColumns) {
  EXPECT_EQ(LoadCells(Example()),
            (std::vector<std::string>{"8", "4", "2.00", "100", "50.0", "95.0", "99.0", "5.00",
                                      "9.50", "9.90", "-", "8.00"}));
  EXPECT_EQ(LoadCells(Measured()).size(), LoadColumns().size());
  EXPECT_EQ(FailureLines("x", Example().load),
            "x: 1 failed: CLIENT_LIMIT\nx: 3 failed: QUEUE_FULL\n");
}

TEST(MeasurementTest, FiguresHaveThreeDigits) {
  EXPECT_EQ(Figure(0), "0");
  EXPECT_EQ(Figure(0.01234), "0.0123");
  EXPECT_EQ(Figure(1.234), "1.23");
  EXPECT_EQ(Figure(99.94), "99.9");
  EXPECT_EQ(Figure(1000), "1000");
  EXPECT_EQ(Figure(12345.6), "12346");
  EXPECT_EQ(Milliseconds(0.0015), "1.50");
}

}  // namespace
}  // namespace longleaf::service::bench
