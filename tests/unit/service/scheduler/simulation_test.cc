// Thousands of random requests under the scheduler's policy, on a virtual clock: nobody starves,
// budgets hold, nothing leaks, answers flow on, estimates are of use.
// LONGLEAF_SIMULATION_SEEDS: how many random runs of each (few by default).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/unit/service/scheduler/simulator.h"
#include "tests/unit/service/scheduler/workload.h"

namespace longleaf::service::simulation {
namespace {

Options RandomOptions(uint64_t seed) {
  std::mt19937_64 random(seed ^ 0x0b7);
  const auto pick = [&random](std::initializer_list<int64_t> values) {
    return values.begin()[random() % values.size()];
  };
  Options options;
  options.scheduler.budget.max_tokens = pick({16, 128, 512});
  options.scheduler.budget.min_tokens = pick({1, 4, 8});
  options.scheduler.max_step_tokens = pick({32, 512, 600});
  options.scheduler.max_step_outputs = pick({4, 32, 256});
  options.max_questions = pick({8, 64, 256});
  options.max_running_questions = pick({1, 8, 32, 64});
  options.max_documents = pick({4, 64});
  options.max_reading_documents = pick({1, 4, 16});
  options.memory = pick({12000, 40000, 1 << 20});
  options.machine = RandomMachine(seed);
  return options;
}

TEST(Simulation, NobodyStarvesBudgetsHoldNothingLeaks) {
  int64_t finished = 0;
  int64_t cancelled = 0;
  int64_t late = 0;
  int64_t refused = 0;
  for (int seed = 1; seed <= Seeds(24); ++seed) {
    SCOPED_TRACE(seed);
    const Options options = RandomOptions(seed);
    Mix mix;
    mix.seconds = 20.0 * (1 + seed % 4);
    mix.tenants = 1 + seed % 7;
    Simulator simulator(options, seed, RandomRequests(seed, mix));
    simulator.Run();
    ASSERT_EQ(simulator.broken(), "");
    // Whoever neither went away nor had a deadline was served whole, and nobody more than that.
    const double longest_step =
        std::max_element(simulator.steps().begin(), simulator.steps().end(),
                         [](const Step& a, const Step& b) { return a.seconds < b.seconds; })
            ->seconds;
    for (size_t i = 0; i < simulator.requests().size(); ++i) {
      const Request& request = simulator.requests()[i];
      const Outcome& outcome = simulator.outcomes()[i];
      const bool asks = request.kind == WorkKind::kQuestion;
      const int64_t whole =
          request.tokens + request.rebuild_tokens + (asks ? request.answer_tokens - 1 : 0);
      switch (outcome.end) {
        case End::kNone:
          FAIL() << "request " << i << " never ended";
        case End::kFinished:
          EXPECT_EQ(outcome.served, whole) << i;
          break;
        case End::kCancelled:
          EXPECT_LE(outcome.ended_at, std::max(request.cancel_at, request.arrival) + longest_step);
          EXPECT_LE(outcome.served, whole);
          break;
        case End::kDeadline:
          EXPECT_LE(outcome.ended_at, request.deadline + longest_step);
          EXPECT_LE(outcome.served, whole);
          break;
        case End::kFull:
        case End::kRefused:
          EXPECT_EQ(outcome.served, 0) << i;
          break;
      }
      finished += outcome.end == End::kFinished ? 1 : 0;
      cancelled += outcome.end == End::kCancelled ? 1 : 0;
      late += outcome.end == End::kDeadline ? 1 : 0;
      refused += outcome.end == End::kFull || outcome.end == End::kRefused ? 1 : 0;
    }
    EXPECT_EQ(simulator.memory_reserved(), 0);
    EXPECT_EQ(simulator.scheduler().question_shares().flows(), 0u);
    EXPECT_EQ(simulator.scheduler().document_shares().flows(), 0u);
    // While a tenant's work was ready and got nothing, each of the others was given at most what
    // brought it level (what it had fallen behind while it waited for a place or memory, or what
    // answers were served), and a step.
    const int64_t step = 2 * options.scheduler.max_step_tokens;
    const int64_t answers = options.max_running_questions * mix.max_answer_tokens;
    const bool has_places = options.memory == 1 << 20 && options.max_reading_documents == 16;
    EXPECT_LE(simulator.LongestGap(WorkKind::kDocument),
              mix.tenants * (step + (has_places ? 0 : TokenShares::kMaxLag)));
    EXPECT_LE(simulator.LongestGap(WorkKind::kQuestion), mix.tenants * (step + answers));
  }
  std::printf("%ld finished, %ld cancelled, %ld too late, %ld refused\n", finished, cancelled, late,
              refused);
  // The mix tries everything.
  EXPECT_GT(finished, 1000);
  EXPECT_GT(cancelled, 50);
  EXPECT_GT(late, 20);
  EXPECT_GT(refused, 100);
}

// Part of the steps with reading, from the first `learned` on and within a time, that took more
// than `limit` times the answers alone.
struct Flatness {
  int64_t steps = 0;
  int64_t slow = 0;
  double tokens = 0;  // read in each, mean
};

Flatness FlatnessOf(const std::vector<Step>& steps, double from, double until, double limit) {
  Flatness flatness;
  for (const Step& step : steps) {
    if (step.at < from || step.at >= until || step.answers == 0 || step.prompt_tokens == 0) {
      continue;
    }
    ++flatness.steps;
    flatness.slow += step.seconds > limit * step.answers_alone_seconds ? 1 : 0;
    flatness.tokens += static_cast<double>(step.prompt_tokens);
  }
  flatness.tokens /= static_cast<double>(std::max<int64_t>(1, flatness.steps));
  return flatness;
}

struct FlatCase {
  const char* name;
  Machine machine;
  int64_t chats;
  double expected_tokens;  // read beside the answers in a step, at least
};

class FlatTest : public ::testing::TestWithParam<FlatCase> {};

// A long prefill beside questions that come and go.
TEST_P(FlatTest, AnswersFlowOnBesideReading) {
  int64_t steps = 0;
  int64_t slow = 0;
  for (int seed = 1; seed <= Seeds(2); ++seed) {
    SCOPED_TRACE(seed);
    Options options;
    options.machine = GetParam().machine;
    options.ends_at = 2500 * options.machine.step_seconds;
    ClosedLoop upload{{.kind = WorkKind::kDocument, .flow = {"u", "d"}, .tokens = 100'000}, 2};
    ClosedLoop chat{{.flow = {"c", "q"}, .tokens = 30, .answer_tokens = 60}, GetParam().chats};
    Simulator simulator(options, seed, {}, {upload, chat});
    simulator.Run();
    ASSERT_EQ(simulator.broken(), "");
    const double learned = 0.2 * options.ends_at;
    const Flatness flat = FlatnessOf(simulator.steps(), learned, options.ends_at,
                                     options.scheduler.budget.max_slowdown);
    std::printf("%s: %ld of %ld steps too slow, %.1f tokens\n", GetParam().name, flat.slow,
                flat.steps, flat.tokens);
    ASSERT_GT(flat.steps, 300);
    EXPECT_LE(static_cast<double>(flat.slow), 0.025 * static_cast<double>(flat.steps) + 2);
    EXPECT_GE(flat.tokens, GetParam().expected_tokens);
    steps += flat.steps;
    slow += flat.slow;
  }
  EXPECT_LE(static_cast<double>(slow), 0.01 * static_cast<double>(steps) + 1);
}

INSTANTIATE_TEST_SUITE_P(
    Machines, FlatTest,
    ::testing::Values(
        FlatCase{"quiet", {.noise = 0}, 4, 20}, FlatCase{"noisy", {.noise = 0.1}, 4, 13},
        FlatCase{"one", {.noise = 0.1}, 1, 15},
        FlatCase{"laptop", {.row_seconds = 0.002, .noise = 0.1}, 4, 8},
        FlatCase{
            "accelerator", {.step_seconds = 0.01, .free_rows = 64, .row_seconds = 5e-5}, 24, 55},
        FlatCase{"disturbed", {.noise = 0.1, .outliers = 0.005}, 4, 11},
        FlatCase{"steep", {.row_seconds = 2e-5, .curvature = 2}, 4, 15},
        FlatCase{"shallow", {.row_seconds = 0.004, .curvature = 0.5}, 4, 8},
        FlatCase{"far", {.position_seconds = 1e-8}, 4, 8}),
    [](const auto& param) { return std::string(param.param.name); });

TEST(Simulation, TheBudgetFollowsAMachineThatSlowsDownAndRecovers) {
  for (int seed = 1; seed <= Seeds(3); ++seed) {
    SCOPED_TRACE(seed);
    Options options;
    options.machine = {.free_rows = 16, .row_seconds = 0.0005, .noise = 0.08};
    options.machine.slow_from = 60;
    options.machine.slow_until = 180;
    options.ends_at = 240;
    ClosedLoop upload{{.kind = WorkKind::kDocument, .flow = {"u", "d"}, .tokens = 200'000}, 2};
    ClosedLoop chat{{.flow = {"c", "q"}, .tokens = 30, .answer_tokens = 200}, 6};
    Simulator simulator(options, seed, {}, {upload, chat});
    simulator.Run();
    ASSERT_EQ(simulator.broken(), "");
    struct Phase {
      const char* name;
      double from;
      double until;
      double most_slow;
    };
    for (const Phase& phase : {Phase{"before", 20, 60, 0.01}, Phase{"slowing", 60, 90, 0.05},
                               Phase{"slow", 90, 180, 0.01}, Phase{"recovering", 180, 190, 0.05},
                               Phase{"after", 190, 240, 0.01}}) {
      const Flatness flat = FlatnessOf(simulator.steps(), phase.from, phase.until,
                                       options.scheduler.budget.max_slowdown);
      std::printf("%s: %ld of %ld steps too slow, %.1f tokens\n", phase.name, flat.slow, flat.steps,
                  flat.tokens);
      EXPECT_LE(static_cast<double>(flat.slow),
                phase.most_slow * static_cast<double>(flat.steps) + 1)
          << phase.name;
      EXPECT_GE(flat.tokens, phase.most_slow > 0.01 ? 8 : 20) << phase.name;
    }
  }
}

TEST(Simulation, EstimatesAreOfTheRightSize) {
  int64_t estimates = 0;
  int64_t near = 0;
  int64_t doubted = 0;
  int64_t rightly = 0;
  int64_t missed = 0;
  for (int seed = 1; seed <= Seeds(12); ++seed) {
    Options options;
    options.machine = {.free_rows = 32, .row_seconds = 0.0004};
    options.max_running_questions = 16;
    options.refuses = false;  // to see who was doubted rightly
    Mix mix;
    mix.count = 300;
    mix.seconds = 10.0 * (1 + seed % 6);
    mix.cancels = 0;
    mix.pauses = 0;
    mix.deadlines = 0.3;
    mix.max_deadline_seconds = 20;
    Simulator simulator(options, seed, RandomRequests(seed, mix));
    simulator.Run();
    ASSERT_EQ(simulator.broken(), "");
    for (size_t i = 0; i < simulator.requests().size(); ++i) {
      const Request& request = simulator.requests()[i];
      const Outcome& outcome = simulator.outcomes()[i];
      if (outcome.estimate == 0) {
        continue;
      }
      const double waited = outcome.first_token_at - request.arrival;
      if (request.deadline < kNever) {
        doubted += outcome.doubted ? 1 : 0;
        rightly += outcome.doubted && outcome.first_token_at > request.deadline ? 1 : 0;
        missed += !outcome.doubted && outcome.first_token_at > request.deadline ? 1 : 0;
      } else if (waited < kNever) {
        ++estimates;
        near += outcome.estimate < 3 * waited && waited < 3 * outcome.estimate ? 1 : 0;
      }
    }
  }
  std::printf("%ld of %ld estimates near; %ld doubted, %ld rightly; %ld missed\n", near, estimates,
              doubted, rightly, missed);
  ASSERT_GT(estimates, 500);
  EXPECT_GT(static_cast<double>(near), 0.75 * static_cast<double>(estimates));
  ASSERT_GT(doubted, 20);
  EXPECT_GT(static_cast<double>(rightly), 0.55 * static_cast<double>(doubted));
}

}  // namespace
}  // namespace longleaf::service::simulation
