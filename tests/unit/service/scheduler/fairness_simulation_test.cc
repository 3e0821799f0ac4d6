// Two tenants, one of whom wants far more than the other: both get their share.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/unit/service/scheduler/simulator.h"
#include "tests/unit/service/scheduler/workload.h"

namespace longleaf::service::simulation {
namespace {

constexpr int64_t kStep = 512;
// Of a question of 50 tokens and its answer of 100, in all places at once.
constexpr int64_t kPlaces = 16 * 150;

struct Rivals {
  const char* name;
  WorkKind kind;
  std::vector<ClosedLoop> loops;  // of tenants a and b
  int64_t bound;                  // tokens that one may be ahead, once both are at work
};

class FairnessTest : public ::testing::TestWithParam<Rivals> {};

ClosedLoop Upload(const char* tenant, int64_t tokens, int64_t outstanding) {
  return {{.kind = WorkKind::kDocument, .flow = {tenant, "d"}, .tokens = tokens}, outstanding};
}

ClosedLoop Chat(const char* tenant, int64_t tokens, int64_t answer, int64_t outstanding) {
  return {{.flow = {tenant, "q"}, .tokens = tokens, .answer_tokens = answer}, outstanding};
}

// Whoever always has work gets as much as the other, whatever the number and size of requests.
TEST_P(FairnessTest, RivalsAreServedAlike) {
  for (int seed = 1; seed <= Seeds(2); ++seed) {
    SCOPED_TRACE(seed);
    Options options;
    options.machine = {.free_rows = 32, .row_seconds = 0.0004};
    options.max_questions = 1000;
    options.max_running_questions = 16;
    options.max_reading_documents = 16;
    options.ends_at = 70;
    std::vector<ClosedLoop> loops = GetParam().loops;
    loops.back().request.arrival = 10;  // b comes when a has had everything for itself
    Simulator simulator(options, seed, {}, loops);
    int64_t most = 0;
    int64_t least = 0;
    int64_t at_start = 0;
    bool begun = false;
    simulator.OnStep([&] {
      // From when a's first hold of all places has gone.
      if (simulator.now() < 20 || simulator.now() > options.ends_at) {
        return;
      }
      const int64_t lead =
          simulator.Served(GetParam().kind, "a") - simulator.Served(GetParam().kind, "b");
      at_start = begun ? at_start : lead;
      begun = true;
      most = std::max(most, lead - at_start);
      least = std::min(least, lead - at_start);
    });
    simulator.Run();
    ASSERT_EQ(simulator.broken(), "");
    ASSERT_TRUE(begun);
    const int64_t served = simulator.Served(GetParam().kind, "b");
    std::printf("%s: apart by %ld, b was served %ld, gap %ld\n", GetParam().name, most - least,
                served, simulator.LongestGap(GetParam().kind));
    EXPECT_LE(most - least, GetParam().bound);
    EXPECT_LE(simulator.LongestGap(GetParam().kind), 2 * kStep);
    EXPECT_GT(served, GetParam().bound);
  }
}

INSTANTIATE_TEST_SUITE_P(Tenants, FairnessTest,
                         ::testing::Values(Rivals{"OneHugeUploadAndManySmall",
                                                  WorkKind::kDocument,
                                                  {Upload("a", 10'000'000, 1), Upload("b", 700, 8)},
                                                  2 * kStep},
                                           Rivals{
                                               "ManySmallUploadsAndOneHuge",
                                               WorkKind::kDocument,
                                               {Upload("a", 700, 12), Upload("b", 10'000'000, 1)},
                                               2 * kStep},
                                           Rivals{"UploadsBesideQuestions",
                                                  WorkKind::kDocument,
                                                  {Chat("c", 50, 100, 30),
                                                   Upload("a", 5'000'000, 3), Upload("b", 100, 12)},
                                                  2 * kStep},
                                           Rivals{"ManyQuestionsAndFew",
                                                  WorkKind::kQuestion,
                                                  {Chat("a", 50, 100, 400), Chat("b", 50, 100, 24)},
                                                  2 * kPlaces},
                                           Rivals{"LongQuestionsAndShort",
                                                  WorkKind::kQuestion,
                                                  {Chat("a", 1000, 10, 40), Chat("b", 10, 5, 100)},
                                                  2 * 16 * 1010}),
                         [](const auto& param) { return std::string(param.param.name); });

// One question among 200 of somebody else's waits for a place, not for the 200.
TEST(Fairness, OneQuestionAmongManyOfAnothersWaitsForAPlaceOnly) {
  Options options;
  options.machine = {.free_rows = 32, .row_seconds = 0.0004};
  options.max_questions = 300;
  options.max_running_questions = 16;
  options.ends_at = 80;
  Simulator simulator(options, 1, {}, {Chat("chatty", 50, 100, 200), Chat("quiet", 50, 20, 1)});
  simulator.Run();
  ASSERT_EQ(simulator.broken(), "");
  std::vector<double> chatty;
  std::vector<double> quiet;
  for (size_t i = 0; i < simulator.requests().size(); ++i) {
    const double waited = simulator.outcomes()[i].first_token_at - simulator.requests()[i].arrival;
    if (waited < kNever) {
      (simulator.requests()[i].flow.tenant == "quiet" ? quiet : chatty).push_back(waited);
    }
  }
  ASSERT_GT(quiet.size(), 20u);
  std::sort(quiet.begin(), quiet.end());
  std::sort(chatty.begin(), chatty.end());
  std::printf("quiet p50 %.2f max %.2f s, chatty p50 %.2f s\n", quiet[quiet.size() / 2],
              quiet.back(), chatty[chatty.size() / 2]);
  EXPECT_LT(quiet.back(), chatty[chatty.size() / 2] / 3);
}

// More questions come than can be read: an upload goes on all the same, and they as well.
TEST(Fairness, QuestionsWithoutEndLeaveAQuarterToAnUpload) {
  Options options;
  options.machine = {.free_rows = 32, .row_seconds = 0.0004};
  options.ends_at = 60;
  Simulator simulator(options, 1, {},
                      {Chat("chatty", 2000, 10, 30), Upload("reader", 1'000'000, 1)});
  simulator.Run();
  ASSERT_EQ(simulator.broken(), "");
  int64_t read = 0;
  for (const Step& step : simulator.steps()) {
    read += step.prompt_tokens;
  }
  const double documents = static_cast<double>(simulator.Served(WorkKind::kDocument, "reader"));
  EXPECT_NEAR(documents, 0.25 * static_cast<double>(read), 0.03 * static_cast<double>(read));
}

// Who was idle does not come back with a claim to all of it.
TEST(Fairness, TimeAwayEarnsNothing) {
  Options options;
  options.machine = {.free_rows = 32, .row_seconds = 0.0004};
  options.ends_at = 100;
  ClosedLoop late = Upload("late", 1'000'000, 1);
  late.request.arrival = 50;
  Simulator simulator(options, 1, {}, {Upload("steady", 2'000'000, 1), late});
  int64_t before = 0;
  int64_t after = 0;
  simulator.OnStep([&] {
    const int64_t served = simulator.Served(WorkKind::kDocument, "steady");
    before = simulator.now() < 50 ? served : before;
    after = simulator.now() < 60 ? served : after;
  });
  simulator.Run();
  ASSERT_EQ(simulator.broken(), "");
  // In the next tenth of the time it has still half of what it had.
  EXPECT_GT(after - before, before / 12);
  EXPECT_LT(after - before, before / 8);
}

}  // namespace
}  // namespace longleaf::service::simulation
