// Which keys the rows of a unit of attention see, page by page, against the policy; and the chunks
// that pages are cut into.
#include "kernels/cuda/attention_tile.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/attention_plan.h"
#include "tests/unit/kernels/cuda_attention_plan_case.h"

namespace longleaf::kernels::cuda {
namespace {

TEST(AttentionTileTest, SightIsThePolicys) {
  for (const AttentionPolicy& policy : PlanPolicies()) {
    for (int64_t t = 0; t < 600; t += 3) {
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
  for (const AttentionPolicy& policy : PlanPolicies()) {
    for (int64_t t = 0; t < 300; t += 97) {
      for (int64_t u = t; u < t + 130; u += 31) {
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

}  // namespace
}  // namespace longleaf::kernels::cuda
