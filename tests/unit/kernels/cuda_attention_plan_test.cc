// The plan of attention on a GPU, which needs none: every row gets every key that it sees exactly
// once, pages that siblings share are read once, and who is beside an item changes nothing for it.
#include "kernels/cuda/attention_plan.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/attention_tile.h"
#include "tests/unit/kernels/cuda_attention_plan_case.h"

namespace longleaf::kernels::cuda {
namespace {

TEST(AttentionPlanTest, EveryRowGetsAllThatItSeesOnce) {
  std::mt19937 random(1);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (const AttentionPolicy& policy : PlanPolicies()) {
    for (const auto& [heads, kv_heads] : {std::pair{8, 2}, {4, 4}, {32, 8}, {7, 1}, {136, 1}}) {
      const StepShape shape = MakeShape(policy, heads, kv_heads);
      for (int n = 0; n < 12; ++n) {
        Items items(policy);
        const int64_t count = pick(1, 8);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t tokens = pick(0, 1) == 0 ? pick(0, 300) : pick(0, 6000);
          const auto rows = static_cast<int32_t>(pick(0, 1) == 0   ? 1
                                                 : pick(0, 1) == 0 ? pick(1, 90)
                                                                   : pick(1, 400));
          const auto outputs = static_cast<int32_t>(pick(0, rows));
          const auto parent = static_cast<int32_t>(i);
          items.Add(tokens, rows, outputs);
          for (int64_t branches = pick(0, 3); branches > 0; --branches) {
            // Siblings over a common trunk, further on than it.
            if (i != 0) continue;
            items.Add(tokens + pick(0, 200), static_cast<int32_t>(pick(1, 40)), 1, parent, tokens);
          }
        }
        SCOPED_TRACE(policy.ToString() + " " + std::to_string(heads) + "/" +
                     std::to_string(kv_heads) + " " + std::to_string(n));
        PlanAndCheck(shape, Rows::kAll, items.Plans());
        PlanAndCheck(shape, Rows::kOutputs, items.Plans());
        if (HasFailure()) return;
      }
    }
  }
}

// 64 questions on a document of 128K: its pages are read once, or as often as 64 questions and the
// heads of a group fill a unit.
TEST(AttentionPlanTest, ADocumentsPagesAreReadOnceForAllQuestions) {
  constexpr int64_t kDocument = 131072 + 777;
  for (const AttentionPolicy& policy :
       {AttentionPolicy::Cca(16, 1024, CoreHeads::kQuery),
        AttentionPolicy::Cca(16, 1024, CoreHeads::kKeyValue), AttentionPolicy::Full()}) {
    for (const int32_t kv_heads : {32, 8}) {
      const StepShape shape = MakeShape(policy, 32, kv_heads);
      Items items(policy);
      items.Add(kDocument, 1, 0);
      for (int64_t i = 0; i < 64; ++i) items.Add(kDocument + 30 + 3 * i, 1, 1, 0, kDocument);
      // Without the document itself, which takes no part in the step.
      const std::vector<PlanItem> branches = items.Plans(1);
      AttentionPlan plan;
      const auto sums = PlanAndCheck(shape, Rows::kAll, branches, &plan);
      std::map<std::byte*, int64_t> reads;
      for (const AttentionUnit& unit : plan.units) {
        if (unit.rows == 0) continue;
        const PageSequence pages =
            PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end);
        const PlanItem& item = branches[static_cast<size_t>(unit.item)];
        for (int64_t i = 0; i < pages.size(); ++i) {
          ++reads[pages.IsCore(i)
                      ? item.core_pages[static_cast<size_t>(pages.Page(i))]
                      : item.raw_pages[static_cast<size_t>(pages.Page(i) - item.first_raw_page)]];
        }
      }
      const auto passes = [&](StatePart part) {
        return (64 * PackOf(shape, part) + kUnitSlots - 1) / kUnitSlots;
      };
      const PlanItem& first = branches[0];
      for (int64_t page = 0; page < policy.CoresAfter(kDocument) / kPageTokens; ++page) {
        EXPECT_EQ(reads[first.core_pages[static_cast<size_t>(page)]], passes(StatePart::kCore));
      }
      for (int64_t page = first.first_raw_page; page < kDocument / kPageTokens; ++page) {
        // Windows begin at different pages.
        const int64_t times =
            reads[first.raw_pages[static_cast<size_t>(page - first.first_raw_page)]];
        EXPECT_GE(times, 1);
        EXPECT_LE(times, passes(StatePart::kRaw));
      }
    }
  }
}

// What decides over a row's bits: which keys are in which of its partial results.
TEST(AttentionPlanTest, WhoIsBesideAnItemChangesNothingForIt) {
  for (const AttentionPolicy& policy : PlanPolicies()) {
    const StepShape shape = MakeShape(policy, 8, 2);
    Items items(policy);
    items.Add(5000, 1, 1);
    std::mt19937 random(3);
    for (int i = 0; i < 20; ++i) {
      const auto further = static_cast<int64_t>(random() % 400);
      const auto rows = static_cast<int32_t>(i % 3 == 0 ? 1 : random() % 80 + 1);
      items.Add(5000 + further, rows, rows, 0, 5000);
    }
    items.Add(300, 200, 200);
    const std::vector<PlanItem> all = items.Plans();
    const auto together = PlanAndCheck(shape, Rows::kAll, all);
    for (const PlanItem& item : all) {
      PlanItem alone = item;
      alone.first_row = 0;
      const auto sums = PlanAndCheck(shape, Rows::kAll, {alone});
      for (int32_t r = 0; r < item.rows; ++r) {
        EXPECT_EQ(sums[static_cast<size_t>(r)], together[static_cast<size_t>(item.first_row + r)]);
      }
    }
  }
}

// One row over a long state keeps many blocks busy; a large chunk of a prefill needs no merging.
TEST(AttentionPlanTest, FillsTheChip) {
  for (const int32_t kv_heads : {32, 8}) {
    for (const AttentionPolicy& policy :
         {AttentionPolicy::Cca(16, 1024, CoreHeads::kKeyValue), AttentionPolicy::Full()}) {
      const StepShape shape = MakeShape(policy, 32, kv_heads);
      Items items(policy);
      items.Add(131072, 1, 1);
      int64_t blocks = 0, longest = 0, pages = 0;
      const AttentionPlan plan = PlanAttention(shape, Rows::kAll, items.Plans(), kMultiprocessors);
      for (const AttentionLaunch& launch : plan.launches) {
        for (int32_t u = launch.first_unit; u < launch.first_unit + launch.units; ++u) {
          const AttentionUnit& unit = plan.units[static_cast<size_t>(u)];
          if (unit.rows == 0) continue;
          const int64_t size =
              PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end).size();
          const int64_t heads = shape.query_heads / launch.pack;
          blocks += heads;
          pages += heads * size;
          longest = std::max(longest, size);
        }
      }
      EXPECT_GE(blocks, 2 * kMultiprocessors);
      // The longest block is not more than what an evenly loaded multiprocessor has to do.
      EXPECT_LE(longest, (pages + kMultiprocessors - 1) / kMultiprocessors);
    }
  }
  const AttentionPolicy policy = AttentionPolicy::Cca(16, 1024, CoreHeads::kQuery);
  const StepShape shape = MakeShape(policy, 32, 32);
  Items large(policy);
  large.Add(60000, 2048, 0);
  AttentionPlan plan;
  PlanAndCheck(shape, Rows::kAll, large.Plans(), &plan);
  EXPECT_EQ(plan.partials, 0);
  EXPECT_TRUE(plan.launches.front().prefill);
  Items small(policy);
  small.Add(60000, 128, 0);
  PlanAndCheck(shape, Rows::kAll, small.Plans(), &plan);
  EXPECT_EQ(plan.launches.size(), 1u);
  EXPECT_GE(plan.units.size() * 32, size_t{2} * kMultiprocessors - 32);
}

// A graph of a decode step can be replayed while answers grow.
TEST(AttentionPlanTest, LaunchesRarelyChangeAsAnswersGrow) {
  const AttentionPolicy policy = AttentionPolicy::Cca(16, 1024, CoreHeads::kQuery);
  const StepShape shape = MakeShape(policy, 32, 8);
  std::set<std::vector<int64_t>> keys;
  for (int64_t step = 0; step < 512; ++step) {
    Items items(policy);
    items.Add(20000, 1, 0);
    for (int64_t i = 0; i < 5; ++i) items.Add(20000 + step + 7 * i, 1, 1, 0, 20000);
    const AttentionPlan plan =
        PlanAttention(shape, Rows::kOutputs, items.Plans(), kMultiprocessors);
    std::vector<int64_t> key{static_cast<int64_t>(plan.merges.size())};
    for (const AttentionLaunch& launch : plan.launches) {
      key.insert(key.end(), {launch.first_unit, launch.units, launch.pack, launch.tile});
    }
    keys.insert(key);
  }
  EXPECT_LE(keys.size(), 12u);
}

TEST(AttentionPlanTest, NothingWanted) {
  const AttentionPolicy policy = AttentionPolicy::Full();
  Items items(policy);
  items.Add(10, 5, 0);
  const AttentionPlan plan =
      PlanAttention(MakeShape(policy, 4, 2), Rows::kOutputs, items.Plans(), kMultiprocessors);
  EXPECT_TRUE(plan.launches.empty());
  EXPECT_TRUE(plan.merges.empty());
  EXPECT_EQ(plan.partials, 0);
}

}  // namespace
}  // namespace longleaf::kernels::cuda
