// What the tests of attention's plan share: policies, states by the numbers of their pages, and a
// check that a plan gives every row every key that it sees exactly once.
#ifndef LONGLEAF_TESTS_UNIT_KERNELS_CUDA_ATTENTION_PLAN_CASE_H_
#define LONGLEAF_TESTS_UNIT_KERNELS_CUDA_ATTENTION_PLAN_CASE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/attention_tile.h"

namespace longleaf::kernels::cuda {

inline constexpr int kMultiprocessors = 132;

inline const std::vector<AttentionPolicy>& PlanPolicies() {
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

inline StepShape MakeShape(const AttentionPolicy& policy, int32_t heads, int32_t kv_heads) {
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
inline std::vector<std::vector<Share>> Check(const StepShape& shape, Rows which,
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

inline std::vector<std::vector<Share>> PlanAndCheck(const StepShape& shape, Rows which,
                                                    const std::vector<PlanItem>& items,
                                                    AttentionPlan* plan = nullptr) {
  AttentionPlan made = PlanAttention(shape, which, items, kMultiprocessors);
  auto sums = Check(shape, which, items, made);
  if (plan != nullptr) *plan = std::move(made);
  return sums;
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_TESTS_UNIT_KERNELS_CUDA_ATTENTION_PLAN_CASE_H_
