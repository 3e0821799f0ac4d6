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

namespace longleaf::kernels::cuda {
namespace {

constexpr int kMultiprocessors = 132;

const std::vector<AttentionPolicy>& Policies() {
  static const auto& policies =
      *new std::vector<AttentionPolicy>{AttentionPolicy::Full(),
                                        AttentionPolicy::Cca(1, 1, CoreHeads::kQuery),
                                        AttentionPolicy::Cca(3, 9, CoreHeads::kKeyValue),
                                        AttentionPolicy::Cca(7, 70, CoreHeads::kKeyValue),
                                        AttentionPolicy::Cca(16, 1024, CoreHeads::kQuery),
                                        AttentionPolicy::Cca(2, 128, CoreHeads::kQuery),
                                        AttentionPolicy::Streaming(0, 1),
                                        AttentionPolicy::Streaming(4, 60),
                                        AttentionPolicy::Streaming(200, 129)};
  return policies;
}

// ---- What is seen ------------------------------------------------------------------------------

TEST(AttentionTileTest, SightIsThePolicys) {
  for (const AttentionPolicy& policy : Policies()) {
    for (int64_t t = 0; t < 600; ++t) {
      const Sight sight = SeenBy(policy, t);
      for (int64_t j = 0; j < 600; ++j) {
        ASSERT_EQ(sight.Core(j), j < policy.CoresVisible(t + 1)) << policy.ToString() << t;
        ASSERT_EQ(sight.Raw(j), j >= policy.FirstRaw(t + 1) && j <= t) << policy.ToString() << t;
      }
      for (int64_t page = 0; page < 11; ++page) {
        int64_t cores = 0, raws = 0;
        for (int64_t j = page * kPageTokens; j < (page + 1) * kPageTokens; ++j) {
          cores += sight.Core(j) ? 1 : 0;
          raws += sight.Raw(j) ? 1 : 0;
        }
        ASSERT_EQ(sight.AnyOfCorePage(page), cores > 0);
        ASSERT_EQ(sight.AnyOfRawPage(page), raws > 0);
        ASSERT_EQ(sight.WholeCorePage(page), cores == kPageTokens);
        ASSERT_EQ(sight.WholeRawPage(page), raws == kPageTokens);
      }
    }
  }
}

TEST(AttentionTileTest, BothAndEither) {
  for (const AttentionPolicy& policy : Policies()) {
    for (int64_t t = 0; t < 300; t += 59) {
      for (int64_t u = t; u < t + 130; u += 7) {
        const Sight both = Both(SeenBy(policy, t), SeenBy(policy, u));
        const Sight either = Either(SeenBy(policy, u), SeenBy(policy, t));
        for (int64_t j = 0; j < 450; ++j) {
          bool all_core = true, all_raw = true, any_core = false, any_raw = false;
          for (int64_t row = t; row <= u; ++row) {
            const Sight sight = SeenBy(policy, row);
            all_core = all_core && sight.Core(j);
            all_raw = all_raw && sight.Raw(j);
            any_core = any_core || sight.Core(j);
            any_raw = any_raw || sight.Raw(j);
          }
          ASSERT_EQ(both.Core(j), all_core);
          ASSERT_EQ(both.Raw(j), all_raw);
          ASSERT_EQ(either.Core(j), any_core);
          ASSERT_EQ(either.Raw(j), any_raw);
        }
      }
    }
  }
}

TEST(AttentionTileTest, PagesBetween) {
  for (int64_t core_begin = 0; core_begin < 3; ++core_begin) {
    for (int64_t core_end = core_begin * 64; core_end < 300; core_end += 9) {
      for (int64_t raw_begin = 5; raw_begin < 300; raw_begin += 31) {
        for (int64_t raw_end = raw_begin; raw_end < 400; raw_end += 33) {
          std::vector<std::pair<bool, int64_t>> expected;
          for (int64_t page = 0; page < 7; ++page) {
            if (page * 64 < core_end && page >= core_begin) expected.emplace_back(true, page);
          }
          for (int64_t page = 0; page < 7; ++page) {
            const int64_t begin = std::max(raw_begin, page * 64);
            const int64_t end = std::min(raw_end, page * 64 + 64);
            if (begin < end) expected.emplace_back(false, page);
          }
          const PageSequence pages = PagesBetween(core_begin * 64, core_end, raw_begin, raw_end);
          std::vector<std::pair<bool, int64_t>> got;
          for (int64_t i = 0; i < pages.size(); ++i) {
            got.emplace_back(pages.IsCore(i), pages.Page(i));
          }
          ASSERT_EQ(got, expected);
        }
      }
    }
  }
}

TEST(ChunkRuleTest, ChunksFollowOneAnother) {
  for (const ChunkRule rule : {ChunkRule{1, 0}, {2, 8}, {8, 8}, {64, 1}, {4, 0}}) {
    for (int64_t page = 0, begin = 0; page < 5000; ++page) {
      const int64_t end = rule.End(page);
      ASSERT_GT(end, page);
      if (page > 0 && rule.End(page - 1) == page) begin = page;
      // All pages of a chunk say the same end.
      ASSERT_EQ(end, rule.End(begin)) << page;
      const int64_t size = end - begin;
      ASSERT_GE(size, rule.least);
      if (rule.per_octave != 0) {
        ASSERT_LE(size, std::max(rule.least, page / rule.per_octave + 1));
      }
    }
  }
}

// ---- Plans -------------------------------------------------------------------------------------

StepShape MakeShape(const AttentionPolicy& policy, int32_t heads, int32_t kv_heads) {
  StepShape shape;
  shape.query_heads = heads;
  shape.kv_heads = kv_heads;
  shape.core_heads = static_cast<int32_t>(policy.CoreHeadCount(heads, kv_heads));
  shape.head_dim = 128;
  shape.policy = policy;
  return shape;
}

// A state's pages by number: those of its trunk, then its own.
struct Item {
  PlanItem plan;
  std::vector<std::byte*> cores, raws;
};

class Items {
 public:
  explicit Items(const AttentionPolicy& policy) : policy_(policy) {}

  // A state of `tokens` tokens, the first `trunk` of them those of `of` (an index, or -1), that
  // takes `rows` more.
  int32_t Add(int64_t tokens, int32_t rows, int32_t outputs, int32_t of = -1, int64_t trunk = 0) {
    Item item;
    item.plan.first_token = tokens;
    item.plan.first_row = rows_;
    item.plan.rows = rows;
    item.plan.outputs = outputs;
    item.plan.trunk_tokens = trunk;
    rows_ += rows;
    item.plan.first_raw_page = policy_.FirstRaw(tokens + 1) / kPageTokens;
    const int64_t end = tokens + rows;
    for (int64_t page = 0; page < PagesOf(policy_.CoresAfter(end)); ++page) {
      const bool shared = of >= 0 && page < policy_.CoresAfter(trunk) / kPageTokens;
      item.cores.push_back(shared ? items_[static_cast<size_t>(of)].cores[static_cast<size_t>(page)]
                                  : NewPage());
    }
    for (int64_t page = item.plan.first_raw_page; page < PagesOf(end); ++page) {
      const bool shared = of >= 0 && page < trunk / kPageTokens;
      std::byte* data = nullptr;
      if (shared) {
        const Item& parent = items_[static_cast<size_t>(of)];
        data = parent.raws[static_cast<size_t>(page - parent.plan.first_raw_page)];
      }
      item.raws.push_back(shared ? data : NewPage());
    }
    items_.push_back(std::move(item));
    return static_cast<int32_t>(items_.size()) - 1;
  }

  // Without the first `skipped`.
  std::vector<PlanItem> Plans(size_t skipped = 0) const {
    std::vector<PlanItem> plans;
    for (size_t i = skipped; i < items_.size(); ++i) {
      plans.push_back(items_[i].plan);
      plans.back().core_pages = items_[i].cores;
      plans.back().raw_pages = items_[i].raws;
    }
    return plans;
  }

 private:
  std::byte* NewPage() { return reinterpret_cast<std::byte*>(uintptr_t{1000} + 8 * next_page_++); }

  const AttentionPolicy policy_;
  std::vector<Item> items_;
  int32_t rows_ = 0;
  uintptr_t next_page_ = 0;
};

// [raw?, first page, end] of what one row looks at in one unit, clipped to what it sees.
using Share = std::tuple<bool, int64_t, int64_t>;

// Checks that a plan is right, and returns for each row of the result what it adds up, in order.
std::vector<std::vector<Share>> Check(const StepShape& shape, Rows which,
                                      const std::vector<PlanItem>& items,
                                      const AttentionPlan& plan) {
  struct Wanted {
    const PlanItem* item = nullptr;
    int32_t row = 0;
    int64_t token = 0;
  };
  std::vector<Wanted> wanted;
  for (const PlanItem& item : items) {
    const int32_t count = which == Rows::kAll ? item.rows : item.outputs;
    for (int32_t r = item.rows - count; r < item.rows; ++r) {
      wanted.push_back({&item, item.first_row + r, item.first_token + r});
    }
  }
  // What each partial result, or else each row, has been given.
  std::map<int32_t, std::pair<int32_t, std::vector<Share>>> partials;
  std::map<int32_t, std::vector<Share>> direct;
  size_t covered = 0;
  for (const AttentionLaunch& launch : plan.launches) {
    EXPECT_EQ(static_cast<size_t>(launch.first_unit), covered);
    covered += static_cast<size_t>(launch.units);
    EXPECT_EQ(shape.query_heads % launch.pack, 0);
    for (int32_t u = launch.first_unit; u < launch.first_unit + launch.units; ++u) {
      const AttentionUnit& unit = plan.units[static_cast<size_t>(u)];
      if (unit.rows == 0) continue;
      EXPECT_LE(unit.rows * launch.pack, launch.tile);
      const bool cores = unit.core_begin < unit.core_end, raws = unit.raw_begin < unit.raw_end;
      if (cores) EXPECT_EQ(shape.query_heads / shape.core_heads % launch.pack, 0);
      if (raws) EXPECT_EQ(shape.query_heads / shape.kv_heads % launch.pack, 0);
      const PlanItem& leader = items[static_cast<size_t>(unit.item)];
      const PageSequence pages =
          PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end);
      for (int32_t r = 0; r < unit.rows; ++r) {
        const AttentionRow& row = plan.rows[static_cast<size_t>(unit.first_row + r)];
        EXPECT_LT(static_cast<size_t>(row.out), wanted.size());
        const Wanted& asked = wanted[static_cast<size_t>(row.out)];
        EXPECT_EQ(row.row, asked.row);
        EXPECT_EQ(row.token, asked.token);
        const Sight sight = SeenBy(shape.policy, row.token);
        std::vector<Share> shares;
        for (int64_t i = 0; i < pages.size(); ++i) {
          const bool raw = !pages.IsCore(i);
          const int64_t page = pages.Page(i);
          if (raw ? !sight.AnyOfRawPage(page) : !sight.AnyOfCorePage(page)) continue;
          // The row's own page is the unit's, and all that it sees of it is within the unit.
          const auto& own = raw ? asked.item->raw_pages : asked.item->core_pages;
          const auto& led = raw ? leader.raw_pages : leader.core_pages;
          EXPECT_EQ(own[static_cast<size_t>(page - (raw ? asked.item->first_raw_page : 0))],
                    led[static_cast<size_t>(page - (raw ? leader.first_raw_page : 0))]);
          const int64_t low = page * kPageTokens, high = low + kPageTokens;
          if (raw) {
            EXPECT_LE(unit.raw_begin, std::max(low, sight.raw_begin));
            EXPECT_GE(unit.raw_end, std::min(high, sight.raw_end));
          } else {
            EXPECT_LE(unit.core_begin, low);
            EXPECT_GE(unit.core_end, std::min(high, sight.cores));
          }
          if (!shares.empty() && std::get<0>(shares.back()) == raw) {
            EXPECT_EQ(std::get<2>(shares.back()), page);
            std::get<2>(shares.back()) = page + 1;
          } else {
            shares.emplace_back(raw, page, page + 1);
          }
        }
        if (unit.partial < 0) {
          EXPECT_TRUE(direct.emplace(row.out, shares).second) << "answered twice";
        } else {
          EXPECT_LT(unit.partial + r, plan.partials);
          EXPECT_TRUE(partials.emplace(unit.partial + r, std::pair(row.out, shares)).second);
        }
      }
    }
  }
  EXPECT_EQ(covered, plan.units.size());
  EXPECT_EQ(partials.size(), static_cast<size_t>(plan.partials));

  std::vector<std::vector<Share>> sums(wanted.size());
  std::set<int32_t> merged;
  for (const AttentionMerge& merge : plan.merges) {
    for (int32_t i = merge.first; i < merge.first + merge.count; ++i) {
      const int32_t partial = plan.merge_partials[static_cast<size_t>(i)];
      EXPECT_TRUE(merged.insert(partial).second);
      EXPECT_EQ(partials[partial].first, merge.out);
      for (const Share& share : partials[partial].second) {
        sums[static_cast<size_t>(merge.out)].push_back(share);
      }
    }
    if (merge.count > 0) EXPECT_EQ(direct.count(merge.out), 0u);
  }
  EXPECT_EQ(merged.size(), partials.size());
  for (auto& [out, shares] : direct) sums[static_cast<size_t>(out)] = shares;
  for (size_t out = 0; out < wanted.size(); ++out) {
    const Sight sight = SeenBy(shape.policy, wanted[out].token);
    std::vector<std::pair<bool, int64_t>> seen, expected;
    for (const auto& [raw, begin, end] : sums[out]) {
      for (int64_t page = begin; page < end; ++page) seen.emplace_back(raw, page);
    }
    for (int64_t page = 0; page < PagesOf(sight.raw_end); ++page) {
      if (sight.AnyOfCorePage(page)) expected.emplace_back(false, page);
    }
    for (int64_t page = 0; page < PagesOf(sight.raw_end); ++page) {
      if (sight.AnyOfRawPage(page)) expected.emplace_back(true, page);
    }
    EXPECT_EQ(seen, expected) << "row " << out;  // each once, in order
  }
  return sums;
}

std::vector<std::vector<Share>> PlanAndCheck(const StepShape& shape, Rows which,
                                             const std::vector<PlanItem>& items,
                                             AttentionPlan* plan = nullptr) {
  AttentionPlan made = PlanAttention(shape, which, items, kMultiprocessors);
  auto sums = Check(shape, which, items, made);
  if (plan != nullptr) *plan = std::move(made);
  return sums;
}

TEST(AttentionPlanTest, EveryRowGetsAllThatItSeesOnce) {
  std::mt19937 random(1);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (const AttentionPolicy& policy : Policies()) {
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
  for (const AttentionPolicy& policy : Policies()) {
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
