#include "service/cli/progress_bar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace longleaf::service::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

ProgressFrame Reading() {
  return {"reading", ProgressUnit::kTokens, 123456, 301222, 1234.4, absl::Seconds(144)};
}

TEST(FormatProgress, ShowsEverythingWhereThereIsRoom) {
  EXPECT_EQ(FormatProgress(Reading(), 100),
            "reading  [============>                    ]   40%  123,456/301,222 tokens  1,234/s  "
            "2 min 24 s left");
  EXPECT_EQ(FormatProgress({"uploading", ProgressUnit::kBytes, 12'300'000, 100'000'000, 5.2e6,
                            absl::Seconds(17)},
                           80),
            "uploading  [=>                  ]   12%  12.3 MB of 100 MB  5.20 MB/s  17 s left");
}

TEST(FormatProgress, NeverExceedsTheWidth) {
  for (int width = 0; width < 200; ++width) {
    EXPECT_LE(FormatProgress(Reading(), width).size(), static_cast<size_t>(width));
  }
}

TEST(FormatProgress, LeavesOutWhatDoesNotFit) {
  EXPECT_EQ(FormatProgress(Reading(), 66),
            "reading   40%  123,456/301,222 tokens  1,234/s  2 min 24 s left");
  EXPECT_EQ(FormatProgress(Reading(), 50), "reading   40%  123,456/301,222 tokens  1,234/s");
  EXPECT_EQ(FormatProgress(Reading(), 14), "reading   40%");
  EXPECT_EQ(FormatProgress(Reading(), 4), "read");
}

TEST(FormatProgress, SaysAHundredPercentOnlyAtTheEnd) {
  ProgressFrame frame = Reading();
  frame.done = frame.total - 1;
  EXPECT_THAT(FormatProgress(frame, 100), HasSubstr(" 99%"));
  frame.done = frame.total;
  EXPECT_THAT(FormatProgress(frame, 100),
              HasSubstr("[========================================]  100%"));
  EXPECT_THAT(FormatProgress(frame, 100), Not(HasSubstr("left")));
  frame.done = frame.total + 5;
  EXPECT_THAT(FormatProgress(frame, 100), HasSubstr("100%"));
}

TEST(FormatProgress, WorksWithoutATotal) {
  EXPECT_EQ(FormatProgress({"uploading", ProgressUnit::kBytes, 5'000'000, 0, 1e6, {}}, 80),
            "uploading  5.00 MB  1.00 MB/s");
}

TEST(RateMeter, MeasuresTheLastTenSeconds) {
  RateMeter meter;
  EXPECT_EQ(meter.PerSecond(), 0);
  meter.Add(absl::Seconds(1), 100);
  EXPECT_EQ(meter.PerSecond(), 0);
  for (int second = 2; second <= 60; ++second) {
    meter.Add(absl::Seconds(second), 100 * second);
  }
  EXPECT_NEAR(meter.PerSecond(), 100, 1e-9);
  for (int second = 61; second <= 72; ++second) {
    meter.Add(absl::Seconds(second), 6000);
  }
  EXPECT_NEAR(meter.PerSecond(), 0, 1e-9);  // it stands still
}

TEST(RateMeter, StartsAnewWhenTheCountGoesBack) {
  RateMeter meter;
  meter.Add(absl::Seconds(1), 0);
  meter.Add(absl::Seconds(2), 1000);
  meter.Add(absl::Seconds(3), 500);
  EXPECT_EQ(meter.PerSecond(), 0);
  meter.Add(absl::Seconds(4), 700);
  EXPECT_NEAR(meter.PerSecond(), 200, 1e-9);
}

class ProgressBarTest : public ::testing::Test {
 protected:
  ProgressBar::Surface Surface(ProgressBar::Style style) {
    return {style, [this](std::string_view text) { written_.emplace_back(text); },
            [] { return 81; }, [this] { return now_; }};
  }

  absl::Duration now_ = absl::Hours(5);
  std::vector<std::string> written_;
};

TEST_F(ProgressBarTest, DrawsTenTimesASecondAndCleansUp) {
  ProgressBar bar("uploading", ProgressUnit::kBytes, Surface(ProgressBar::Style::kBar));
  for (int i = 0; i <= 1000; ++i) {
    bar.Update(i * 1000, 1'000'000);
    now_ += absl::Milliseconds(1);
  }
  ASSERT_THAT(written_, SizeIs(11));
  EXPECT_THAT(written_.back(), StartsWith("\ruploading  ["));
  EXPECT_THAT(written_.back(), HasSubstr("1.00 MB/s"));
  EXPECT_THAT(written_.back(), HasSubstr("\x1b[K"));
  bar.Finish("uploaded 1.00 MB");
  ASSERT_THAT(written_, SizeIs(13));
  EXPECT_EQ(written_[11], "\r\x1b[K");
  EXPECT_EQ(written_[12], "uploaded 1.00 MB\n");
  bar.Finish("");
  EXPECT_THAT(written_, SizeIs(13));
}

TEST_F(ProgressBarTest, EstimatesTheTimeLeftUnlessTold) {
  ProgressBar bar("reading", ProgressUnit::kTokens, Surface(ProgressBar::Style::kBar));
  bar.Update(0, 1000);
  now_ += absl::Seconds(1);
  bar.Update(100, 1000);
  EXPECT_THAT(written_.back(), HasSubstr("100/s  9.0 s left"));
  now_ += absl::Seconds(1);
  bar.Update(200, 1000, absl::Seconds(30));
  EXPECT_THAT(written_.back(), HasSubstr("100/s  30 s left"));
}

TEST_F(ProgressBarTest, WritesOccasionalLinesWithoutATerminal) {
  {
    ProgressBar bar("reading", ProgressUnit::kTokens, Surface(ProgressBar::Style::kLines));
    for (int second = 0; second <= 25; ++second) {
      bar.Update(second, 1000);
      now_ += absl::Seconds(1);
    }
  }
  EXPECT_THAT(written_, ElementsAre("reading    1%  10/1,000 tokens  1/s  16 min 30 s left\n",
                                    "reading    2%  20/1,000 tokens  1/s  16 min 20 s left\n"));
}

TEST_F(ProgressBarTest, IsSilentWhenQuiet) {
  ProgressBar bar("reading", ProgressUnit::kTokens, Surface(ProgressBar::Style::kNone));
  now_ += absl::Hours(1);
  bar.Update(1, 2);
  bar.Finish("done");
  EXPECT_THAT(written_, IsEmpty());
}

TEST_F(ProgressBarTest, RemovesItselfWhenDestroyed) {
  {
    ProgressBar bar("reading", ProgressUnit::kTokens, Surface(ProgressBar::Style::kBar));
    now_ += absl::Seconds(1);
    bar.Update(1, 2);
  }
  EXPECT_EQ(written_.back(), "\r\x1b[K");
}

}  // namespace
}  // namespace longleaf::service::cli
