#include "service/scheduler/step_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

namespace longleaf::service {
namespace {

constexpr StepBudgetOptions kOptions{.max_tokens = 512, .min_tokens = 8, .max_slowdown = 1.6};

// A machine: 20 ms and 0.1 ms a row, of which the first 8 are free.
double Seconds(int64_t rows, double factor = 1) {
  return factor * (0.02 + 1e-4 * static_cast<double>(std::max<int64_t>(0, rows - 8)));
}

// `steps` steps with reading as the budget allows it; what it allowed last.
int64_t Read(StepBudget& budget, int64_t answers, int steps, double factor = 1) {
  int64_t last = 0;
  for (int i = 0; i < steps; ++i) {
    const int64_t tokens = budget.PromptTokens(answers);
    budget.Observe(answers, tokens, Seconds(answers + tokens, factor));
    last = tokens > 0 ? tokens : last;
  }
  return last;
}

TEST(StepBudget, WithoutAnswersAllOfIt) {
  StepBudget budget(kOptions);
  EXPECT_EQ(budget.PromptTokens(0), 512);
  Read(budget, 4, 200);
  EXPECT_EQ(budget.PromptTokens(0), 512);
  EXPECT_EQ(budget.PromptTokens(-1), 512);
}

TEST(StepBudget, BeginsWithTheLeast) {
  StepBudget budget(kOptions);
  EXPECT_EQ(budget.AnswerStepSeconds(3), 0);
  EXPECT_EQ(budget.PromptTokenSeconds(), 0);
  EXPECT_EQ(budget.PromptTokens(3), 8);
  EXPECT_EQ(budget.PromptTokens(100), 8);
}

TEST(StepBudget, LearnsHowMuchFitsIn) {
  for (const int64_t answers : {1, 4, 30, 200}) {
    StepBudget budget(kOptions);
    const int64_t tokens = Read(budget, answers, 600);
    const double slowdown = Seconds(answers + tokens) / Seconds(answers);
    EXPECT_LT(slowdown, 1.6) << answers;
    EXPECT_GT(slowdown, 1.35) << answers;
    EXPECT_NEAR(budget.AnswerStepSeconds(answers), Seconds(answers), 1e-9);
    EXPECT_NEAR(budget.PromptTokenSeconds(), 1e-4, 1e-5);
  }
}

TEST(StepBudget, ProbesRarelyAndOnlyWhenItHasToKnow) {
  StepBudget budget(kOptions);
  int probes = 0;
  for (int i = 0; i < 3200; ++i) {
    const int64_t tokens = budget.PromptTokens(2);
    EXPECT_TRUE(tokens == 0 || tokens >= 8);
    probes += tokens == 0 ? 1 : 0;
    budget.Observe(2, tokens, Seconds(2 + tokens));
  }
  EXPECT_GE(probes, 50);
  EXPECT_LE(probes, 100);
  // Steps without reading that come of themselves are as good.
  probes = 0;
  for (int i = 0; i < 3200; ++i) {
    const int64_t tokens = budget.PromptTokens(2);
    probes += tokens == 0 ? 1 : 0;
    budget.Observe(2, tokens, Seconds(2 + tokens));
    if (i % 8 == 0) {
      budget.Observe(2, 0, Seconds(2));
    }
  }
  EXPECT_LE(probes, 1);
}

TEST(StepBudget, OutliersDoNotMoveIt) {
  StepBudget budget(kOptions);
  const int64_t before = Read(budget, 4, 600);
  budget.Observe(4, before, 20 * Seconds(4));
  EXPECT_GE(Read(budget, 4, 2), before / 2);
  EXPECT_GE(Read(budget, 4, 8), before * 9 / 10);
  budget.Observe(4, 0, 20 * Seconds(4));  // nor among the steps without reading
  EXPECT_NEAR(budget.AnswerStepSeconds(4), Seconds(4), 1e-9);
  EXPECT_LE(Read(budget, 4, 8), before * 11 / 10);
}

TEST(StepBudget, FollowsTheMachine) {
  StepBudget budget(kOptions);
  const int64_t before = Read(budget, 4, 600);
  for (const double factor : {2.0, 1.0, 3.0, 0.5}) {
    const int64_t after = Read(budget, 4, 300, factor);
    EXPECT_NEAR(static_cast<double>(after), static_cast<double>(before), 0.15 * before) << factor;
    EXPECT_NEAR(budget.AnswerStepSeconds(4), Seconds(4, factor), 0.1 * Seconds(4, factor));
  }
}

TEST(StepBudget, AgreesSoonThatTheMachineIsSlower) {
  StepBudget budget(kOptions);
  const int64_t before = Read(budget, 4, 600);
  EXPECT_LE(Read(budget, 4, 16, 2), before / 2);  // it reads less at first
  EXPECT_GE(Read(budget, 4, 50, 2), before / 2);
}

TEST(StepBudget, ProbesAreRareHoweverTheAnswersVary) {
  StepBudget budget(kOptions);
  std::mt19937_64 random(1);
  int last = -100;
  for (int i = 0; i < 3200; ++i) {
    const int64_t answers = 1 + static_cast<int64_t>(random() % 200);
    const int64_t tokens = budget.PromptTokens(answers);
    if (tokens == 0) {
      EXPECT_GE(i - last, 32);
      last = i;
    }
    budget.Observe(answers, tokens, Seconds(answers + tokens));
  }
}

// A faster machine must not make it read ever more while it holds on to the old measure.
TEST(StepBudget, DoesNotRunAwayWhenTheMachineBecomesFaster) {
  for (const double factor : {0.3, 0.5, 0.7, 0.85}) {
    StepBudget budget(kOptions);
    Read(budget, 4, 600);
    int slow = 0;
    for (int i = 0; i < 300; ++i) {
      const int64_t tokens = budget.PromptTokens(4);
      slow += Seconds(4 + tokens) > 1.6 * Seconds(4) ? 1 : 0;
      EXPECT_LT(Seconds(4 + tokens), 2.2 * Seconds(4)) << factor;
      budget.Observe(4, tokens, Seconds(4 + tokens, factor));
    }
    EXPECT_LE(slow, 64) << factor;
  }
}

TEST(StepBudget, UnknownNumbersOfAnswersAreFilledInFromNeighbours) {
  StepBudget budget(kOptions);
  budget.Observe(4, 0, 0.02);
  budget.Observe(64, 0, 0.08);
  EXPECT_NEAR(budget.AnswerStepSeconds(4), 0.02, 1e-9);
  EXPECT_NEAR(budget.AnswerStepSeconds(34), 0.05, 0.004);
  EXPECT_NEAR(budget.AnswerStepSeconds(500), 0.08, 1e-9);
  EXPECT_GT(budget.AnswerStepSeconds(1), 0.01);
  EXPECT_LE(budget.AnswerStepSeconds(1), 0.02);
  for (int64_t answers = 1; answers < 300; ++answers) {
    EXPECT_LE(budget.AnswerStepSeconds(answers), budget.AnswerStepSeconds(answers + 1) + 1e-12);
  }
  const int64_t tokens = Read(budget, 4, 400);
  EXPECT_NEAR(static_cast<double>(std::max(budget.PromptTokens(5), budget.PromptTokens(5))),
              static_cast<double>(tokens), 0.25 * static_cast<double>(tokens));
}

TEST(StepBudget, StaysWithinItsLimits) {
  StepBudget budget({.max_tokens = 20, .min_tokens = 6, .max_slowdown = 1.5});
  for (int i = 0; i < 500; ++i) {  // reading costs nothing
    const int64_t tokens = budget.PromptTokens(3);
    EXPECT_TRUE(tokens == 0 || (tokens >= 6 && tokens <= 20));
    budget.Observe(3, tokens, 0.02);
  }
  EXPECT_EQ(Read(budget, 3, 1), 20);
  for (int i = 0; i < 500; ++i) {  // and then the earth
    const int64_t tokens = budget.PromptTokens(3);
    EXPECT_TRUE(tokens == 0 || (tokens >= 6 && tokens <= 20));
    budget.Observe(3, tokens, 0.02 * static_cast<double>(1 + tokens));
  }
  EXPECT_EQ(std::max(budget.PromptTokens(3), budget.PromptTokens(3)), 6);
  // Options that contradict each other.
  StepBudget odd({.max_tokens = 4, .min_tokens = 100, .max_slowdown = 0});
  EXPECT_EQ(odd.PromptTokens(1), 4);
}

TEST(StepBudget, AStepThatReadLessSaysNothingAboutMore) {
  StepBudget budget(kOptions);
  const int64_t before = Read(budget, 4, 600);
  for (int i = 0; i < 200; ++i) {
    budget.Observe(4, 2, Seconds(6));
    budget.Observe(4, 0, Seconds(4));
  }
  EXPECT_EQ(budget.PromptTokens(4), before);
}

TEST(StepBudget, NonsenseIsIgnoredAndACoarseClockHarmless) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  StepBudget budget(kOptions);
  for (const double seconds : {std::nan(""), kInfinity, -kInfinity, -1.0}) {
    budget.Observe(3, 0, seconds);
    budget.Observe(3, 8, seconds);
  }
  budget.Observe(-1, -1, 1);
  EXPECT_EQ(budget.AnswerStepSeconds(3), 0);
  StepBudget coarse(kOptions);
  for (int i = 0; i < 1000; ++i) {  // 10 ms
    const int64_t tokens = coarse.PromptTokens(3);
    EXPECT_TRUE(tokens == 0 || (tokens >= 8 && tokens <= 512));
    const double at = 0.0213 * i;
    const double seconds = Seconds(3 + tokens);
    coarse.Observe(3, tokens, (std::floor((at + seconds) * 100) - std::floor(at * 100)) / 100);
  }
  EXPECT_TRUE(std::isfinite(coarse.AnswerStepSeconds(3)));
  for (int i = 0; i < 100; ++i) {
    coarse.Observe(3, 0, 0);
    coarse.Observe(3, 8, 0);
  }
  EXPECT_GE(std::max(coarse.PromptTokens(3), coarse.PromptTokens(3)), 8);
}

}  // namespace
}  // namespace longleaf::service
