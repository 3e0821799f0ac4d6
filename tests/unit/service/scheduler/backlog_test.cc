#include "service/scheduler/backlog.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

namespace longleaf::service {
namespace {

// 1000 tokens/s beside answers of 100 tokens and 20 ms a token, 4000 alone.
Backlog Learned() {
  Backlog backlog;
  for (int i = 0; i < 500; ++i) {
    backlog.Observe(4, 20, 0.02);
    backlog.Observe(0, 400, 0.1);
    backlog.AnswerEnded(100);
  }
  return backlog;
}

TEST(Backlog, SaysNothingBeforeItKnowsAnything) {
  Backlog backlog;
  const Load load{.answers = 5, .waiting_questions = 9, .document_tokens = 1000, .documents = 1};
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(backlog.knows());
    EXPECT_EQ(backlog.SecondsToFirstToken(load, 10, 10), 0);
    EXPECT_EQ(backlog.SecondsToQuestionSlot(load), 0);
    EXPECT_EQ(backlog.SecondsToDocumentSlot(load), 0);
    // Nor from what says nothing.
    backlog.Observe(1, 5, std::nan(""));
    backlog.Observe(1, 5, -1);
    backlog.Observe(1, 5, 0);
    backlog.Observe(-1, 5, 1);
    backlog.Observe(1, 0, 0.1);  // how fast it reads is what it has to know
  }
  EXPECT_TRUE(Learned().knows());
}

struct EstimateCase {
  const char* name;
  Load load;
  int64_t question = 0;
  int64_t rebuild = 0;
  double first_token = 0;
  double question_slot = 0;
  double document_slot = 0;
};

class EstimateTest : public ::testing::TestWithParam<EstimateCase> {};

TEST_P(EstimateTest, FollowsFromTheLoad) {
  const Backlog backlog = Learned();
  const EstimateCase& test = GetParam();
  const auto near = [](double value) { return 0.02 * value + 1e-9; };
  EXPECT_NEAR(backlog.SecondsToFirstToken(test.load, test.question, test.rebuild), test.first_token,
              near(test.first_token));
  EXPECT_NEAR(backlog.SecondsToQuestionSlot(test.load), test.question_slot,
              near(test.question_slot));
  EXPECT_NEAR(backlog.SecondsToDocumentSlot(test.load), test.document_slot,
              near(test.document_slot));
}

INSTANTIATE_TEST_SUITE_P(
    Loads, EstimateTest,
    ::testing::Values(
        EstimateCase{"Idle", {.max_answers = 8}, 400, 0, 0.1 + 0.02, 0, 0},
        EstimateCase{"IdleButTheStateHasToBeRead", {.max_answers = 8}, 0, 4000, 1.02, 0, 0},
        EstimateCase{"BesideAnswers", {.answers = 3, .max_answers = 8}, 400, 0, 0.42, 0, 0},
        // Two seconds an answer; each of the 8 ends some time.
        EstimateCase{"AllPlacesTaken", {.answers = 8, .max_answers = 8}, 0, 0, 0.27, 0.25, 0},
        EstimateCase{"OthersWaitForAPlace",
                     {.answers = 8, .max_answers = 8, .waiting_questions = 16},
                     0,
                     0,
                     0.25 * 9 + 0.02,
                     0.25,
                     0},
        EstimateCase{"OthersAreRead",
                     {.answers = 1, .max_answers = 8, .question_tokens = 4000},
                     100,
                     0,
                     1.12,
                     0.5,
                     4},
        EstimateCase{"DocumentsTakeAQuarter",
                     {.answers = 1,
                      .max_answers = 8,
                      .document_tokens = 100'000,
                      .shortest_document_tokens = 100'000,
                      .documents = 1},
                     300,
                     0,
                     0.42,
                     0,
                     100},
        EstimateCase{"DocumentsShare",
                     {.answers = 1,
                      .max_answers = 8,
                      .document_tokens = 30'000,
                      .shortest_document_tokens = 2000,
                      .documents = 3},
                     0,
                     1000,
                     4.02,
                     0,
                     6},
        EstimateCase{"ButNoneIsReadMoreThanWhole",
                     {.answers = 1,
                      .max_answers = 8,
                      .document_tokens = 3000,
                      .shortest_document_tokens = 1000,
                      .documents = 5},
                     0,
                     50'000,
                     53.02,
                     0,
                     3}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Backlog, EveryEstimateIsFiniteAndGrowsWithEveryLoad) {
  std::mt19937_64 random(1);
  const Backlog backlog = Learned();
  for (int i = 0; i < 2000; ++i) {
    Load load;
    load.max_answers = static_cast<int64_t>(random() % 40);
    int64_t* const loads[] = {
        &load.answers,         &load.waiting_questions,        &load.question_tokens,
        &load.document_tokens, &load.shortest_document_tokens, &load.documents};
    int64_t question = 0;
    int64_t rebuild = 0;
    const auto draw = [&random] {
      return static_cast<int64_t>(random() % (uint64_t{1} << (random() % 50)));
    };
    for (int64_t* one : loads) {
      *one = draw();
    }
    question = draw();
    rebuild = draw();
    const double before[] = {backlog.SecondsToFirstToken(load, question, rebuild),
                             backlog.SecondsToQuestionSlot(load),
                             backlog.SecondsToDocumentSlot(load)};
    for (int64_t* one :
         {loads[0], loads[1], loads[2], loads[3], loads[4], loads[5], &question, &rebuild}) {
      const int64_t was = *one;
      *one += 1 + draw();
      const double after[] = {backlog.SecondsToFirstToken(load, question, rebuild),
                              backlog.SecondsToQuestionSlot(load),
                              backlog.SecondsToDocumentSlot(load)};
      *one = was;
      for (int k = 0; k < 3; ++k) {
        ASSERT_TRUE(std::isfinite(before[k]) && before[k] >= 0);
        ASSERT_GE(after[k], before[k] * (1 - 1e-12)) << i << " " << k;
      }
    }
  }
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const Load nonsense{-5, -1, -kMost, -kMost, -kMost, -1, -kMost};
  EXPECT_GE(backlog.SecondsToFirstToken(nonsense, -3, -kMost), 0);
  EXPECT_EQ(backlog.SecondsToDocumentSlot(nonsense), 0);
}

TEST(Backlog, FollowsWhatChanges) {
  Backlog backlog = Learned();
  const Load busy{.answers = 8, .max_answers = 8};
  const double before = backlog.SecondsToQuestionSlot(busy);
  backlog.Observe(4, 0, 1000);  // one stall is no trend
  EXPECT_LT(backlog.SecondsToQuestionSlot(busy), 1.3 * before);
  for (int i = 0; i < 200; ++i) {
    backlog.Observe(4, 20, 0.06);
    backlog.AnswerEnded(50);
  }
  EXPECT_NEAR(backlog.SecondsToQuestionSlot(busy), before * 1.5, 0.05);
}

}  // namespace
}  // namespace longleaf::service
