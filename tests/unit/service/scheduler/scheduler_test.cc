#include "service/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace longleaf::service {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// "a" -> what it is given
struct Item {
  WorkKind kind;
  const char* tenant;
  int64_t tokens = 1;
};

constexpr WorkKind kAnswer = WorkKind::kAnswer;
constexpr WorkKind kQuestion = WorkKind::kQuestion;
constexpr WorkKind kDocument = WorkKind::kDocument;

struct ComposeCase {
  const char* name;
  SchedulerOptions options;
  std::vector<Item> work;
  std::vector<std::pair<size_t, int64_t>> step;  // work, tokens
};

std::vector<Work> WorkOf(const std::vector<Item>& items, std::vector<Flow>& flows) {
  flows.clear();
  flows.reserve(items.size());
  std::vector<Work> work;
  for (const Item& item : items) {
    flows.push_back({item.tenant, "d"});
    work.push_back({&flows.back(), item.kind, item.tokens});
  }
  return work;
}

std::vector<std::pair<size_t, int64_t>> Pairs(const std::vector<Share>& step) {
  std::vector<std::pair<size_t, int64_t>> pairs;
  for (const Share& share : step) {
    pairs.emplace_back(share.work, share.tokens);
  }
  return pairs;
}

class ComposeTest : public ::testing::TestWithParam<ComposeCase> {};

TEST_P(ComposeTest, TheFirstStep) {
  std::vector<Flow> flows;
  const std::vector<Work> work = WorkOf(GetParam().work, flows);
  Scheduler scheduler(GetParam().options);
  EXPECT_EQ(Pairs(scheduler.Compose(work)), GetParam().step);
}

constexpr StepBudgetOptions kBudget{.max_tokens = 100, .min_tokens = 8};

INSTANTIATE_TEST_SUITE_P(
    Rules, ComposeTest,
    ::testing::Values(
        ComposeCase{"NothingToDo", {}, {}, {}},
        ComposeCase{"AnswersOnly", {}, {{kAnswer, "a"}, {kAnswer, "b"}}, {{0, 1}, {1, 1}}},
        ComposeCase{"AloneADocumentIsReadInGreatChunks",
                    {.budget = kBudget},
                    {{kDocument, "a", 1000}},
                    {{0, 100}}},
        ComposeCase{"NeverMoreThanThereIs", {.budget = kBudget}, {{kDocument, "a", 3}}, {{0, 3}}},
        ComposeCase{"ReadingBesideAnswersBeginsWithTheLeast",
                    {.budget = kBudget},
                    {{kDocument, "a", 1000}, {kAnswer, "b"}},
                    {{1, 1}, {0, 8}}},
        ComposeCase{"QuestionsBeforeDocumentsButForAQuarter",
                    {.budget = kBudget},
                    {{kDocument, "a", 1000}, {kQuestion, "b", 1000}},
                    {{1, 75}, {0, 25}}},
        ComposeCase{"DocumentsGetWhatQuestionsDoNotUse",
                    {.budget = kBudget},
                    {{kDocument, "a", 1000}, {kQuestion, "b", 10}},
                    {{1, 10}, {0, 90}}},
        ComposeCase{"QuestionsGetWhatDocumentsDoNotUse",
                    {.budget = kBudget},
                    {{kDocument, "a", 5}, {kQuestion, "b", 1000}},
                    {{1, 95}, {0, 5}}},
        ComposeCase{"WholeOnesOneAfterTheOther",
                    {.budget = kBudget},
                    {{kQuestion, "a", 60}, {kQuestion, "b", 60}, {kQuestion, "c", 60}},
                    {{0, 60}, {1, 40}}},
        ComposeCase{"StepsHaveRoomForSoMuch",
                    {.budget = kBudget, .max_step_tokens = 12},
                    {{kAnswer, "a"}, {kAnswer, "a"}, {kDocument, "a", 50}},
                    {{0, 1}, {1, 1}, {2, 8}}},
        ComposeCase{
            "HoweverManyAnswersReadingGoesOn",
            {.budget = kBudget, .max_step_tokens = 4},
            {{kAnswer, "a"}, {kAnswer, "a"}, {kAnswer, "a"}, {kAnswer, "a"}, {kDocument, "b", 50}},
            {{0, 1}, {1, 1}, {4, 2}}},
        ComposeCase{"OutputsAreForAnswersFirst",
                    {.budget = kBudget, .max_step_outputs = 2},
                    {{kQuestion, "a", 5}, {kAnswer, "b"}, {kAnswer, "c"}, {kAnswer, "d"}},
                    {{1, 1}, {2, 1}, {0, 4}}},
        ComposeCase{"AQuestionReadWholeNeedsAnOutput",
                    {.budget = kBudget, .max_step_outputs = 1},
                    {{kQuestion, "a", 5}, {kQuestion, "b", 5}, {kQuestion, "c", 1}},
                    {{0, 5}, {1, 4}}},
        ComposeCase{"PartOfAQuestionNeedsNone",
                    {.budget = kBudget, .max_step_outputs = 1},
                    {{kAnswer, "a"}, {kQuestion, "b", 50}},
                    {{0, 1}, {1, 8}}}),
    [](const auto& param) { return std::string(param.param.name); });

class SchedulerTest : public ::testing::Test {
 protected:
  // Tokens that each work got in `steps` steps of the same work, which never ends.
  std::vector<int64_t> Served(Scheduler& scheduler, const std::vector<Item>& items, int steps,
                              double seconds = 0.02) {
    std::vector<Flow> flows;
    const std::vector<Work> work = WorkOf(items, flows);
    std::vector<int64_t> served(items.size());
    for (int i = 0; i < steps; ++i) {
      const std::vector<Share> step = scheduler.Compose(work);
      EXPECT_FALSE(step.empty());
      for (const Share& share : step) {
        served[share.work] += share.tokens;
      }
      scheduler.Committed(work, step, seconds);
    }
    return served;
  }
};

TEST_F(SchedulerTest, ManyAnswersOfOneTenantLeaveRoomForAnothers) {
  Scheduler scheduler({.max_step_outputs = 4});
  std::vector<Item> items(40, {kAnswer, "many"});
  items.push_back({kAnswer, "few"});
  const std::vector<int64_t> served = Served(scheduler, items, 100);
  EXPECT_GE(served.back(), 96);
}

TEST_F(SchedulerTest, RivalsGetTheSameWithinAStep) {
  Scheduler scheduler({.budget = kBudget});
  const std::vector<int64_t> served = Served(
      scheduler, {{kDocument, "a", 100'000}, {kDocument, "b", 70}, {kDocument, "b", 30}}, 501);
  EXPECT_NEAR(served[0], served[1] + served[2], 100);
  EXPECT_GT(served[0], 20'000);
}

TEST_F(SchedulerTest, QuestionsAndDocumentsAreCountedApart) {
  Scheduler scheduler({.budget = kBudget});
  // a asks much: that its upload goes on as b's has nothing to do with it.
  const std::vector<int64_t> served = Served(
      scheduler, {{kDocument, "a", 100'000}, {kDocument, "b", 100'000}, {kQuestion, "a", 100'000}},
      400);
  EXPECT_NEAR(served[0], served[1], 100);
  EXPECT_EQ(served[2], 400 * 75);
}

TEST_F(SchedulerTest, TheQuarterIsKeptOverStepsThatAreSmallerThanFour) {
  for (const int64_t tokens : {1, 2, 3, 5, 8}) {
    Scheduler scheduler({.budget = {.max_tokens = tokens, .min_tokens = 1}});
    const std::vector<int64_t> served =
        Served(scheduler, {{kDocument, "a", 1000}, {kQuestion, "b", 1000}}, 400);
    EXPECT_EQ(served[0], 100 * tokens);
    EXPECT_EQ(served[1], 300 * tokens);
  }
}

TEST_F(SchedulerTest, AProbeIsNeverAnEmptyStepNorOften) {
  Scheduler scheduler({.budget = kBudget});
  std::vector<Flow> flows;
  const std::vector<Work> work = WorkOf({{kAnswer, "a"}, {kDocument, "b", 100'000}}, flows);
  int last = -100;
  int probes = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::vector<Share> step = scheduler.Compose(work);
    ASSERT_FALSE(step.empty());
    if (step.size() == 1) {
      EXPECT_GE(i - last, 32);
      last = i;
      ++probes;
    }
    scheduler.Committed(work, step, 0.02);
  }
  EXPECT_GT(probes, 20);
}

TEST_F(SchedulerTest, AdmissionIsByKindAndLeastServed) {
  Scheduler scheduler({.budget = kBudget});
  const Flow a{"a", "d"};
  const Flow b{"b", "d"};
  const std::vector<const Flow*> waiting = {&a, &b};
  EXPECT_THAT(scheduler.AdmissionOrder(kQuestion, waiting), ElementsAre(0, 1));
  EXPECT_THAT(scheduler.AdmissionOrder(kDocument, waiting), ElementsAre(0, 1));
  const std::vector<Work> work = {{&a, kDocument, 50}};
  scheduler.Committed(work, scheduler.Compose(work), 0.02);
  EXPECT_THAT(scheduler.AdmissionOrder(kQuestion, waiting), ElementsAre(0, 1));
  EXPECT_THAT(scheduler.AdmissionOrder(kDocument, waiting), ElementsAre(1, 0));
  EXPECT_THAT(scheduler.AdmissionOrder(kDocument, {}), IsEmpty());
  EXPECT_THAT(scheduler.AdmissionOrder(kQuestion, {}), IsEmpty());
  scheduler.Compose({});
  EXPECT_EQ(scheduler.document_shares().flows(), 0u);
  EXPECT_EQ(scheduler.question_shares().flows(), 0u);
}

}  // namespace
}  // namespace longleaf::service
