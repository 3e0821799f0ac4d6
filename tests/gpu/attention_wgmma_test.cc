// The Hopper kernel, alone, against the definition in double precision: for the emulator, and for
// chips of compute capability 9.0.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/attention_wgmma.h"
#include "tests/gpu/attention_case.h"

namespace longleaf::kernels::cuda {
namespace {

// Queries that are numbers of bf16, so that what is left of rounding is that of the weights.
void CheckWgmma(Sequence s, int64_t first, int64_t rows, int64_t parts = 1) {
  SCOPED_TRACE(NameOfCase(s, first, rows) + " parts=" + std::to_string(parts));
  std::transform(s.query.begin(), s.query.end(), s.query.begin(), NearestBF16);
  AttentionCase one(s, first, rows);
  const AttentionArguments arguments =
      one.Arguments({.rows = kUnitSlots, .parts = parts, .prefill = true});
  ASSERT_TRUE(WgmmaTakes(one.shape(), one.launch(), 90));
  ASSERT_TRUE(PrepareAttentionWgmma(one.shape()).ok());
  ASSERT_TRUE(LaunchAttentionWgmma(one.launch(), arguments, one.stream()).ok());
  one.ExpectRight(0x1p-8);
}

TEST(AttentionWgmmaTest, PoliciesAndLengths) {
  uint32_t n = 0;
  for (const AttentionPolicy& policy : OddPolicies()) {
    for (const auto& [first, rows] : {std::pair<int64_t, int64_t>{0, 1}, {61, 65}, {250, 129}}) {
      CheckWgmma(Sequence(policy, 2, 1, 64, first + rows, ++n, DType::kBF16), first, rows);
    }
  }
}

TEST(AttentionWgmmaTest, HeadSizes) {
  for (const int64_t d : {64, 96, 128}) {
    const Sequence s(AttentionPolicy::Cca(4, 64, CoreHeads::kQuery), 2, 1, d, 430, 3, DType::kBF16);
    CheckWgmma(s, 343, 87);
  }
}

// More tiles than the ring has room for.
TEST(AttentionWgmmaTest, LongUnitsAndParts) {
  for (const int64_t d : {64, 96}) {
    const Sequence s(AttentionPolicy::Cca(1, 256, CoreHeads::kKeyValue), 2, 2, d, 1000, 7,
                     DType::kBF16);
    CheckWgmma(s, 900, 70);
    CheckWgmma(s, 900, 70, 3);
  }
  // Some of whose parts have no pages.
  CheckWgmma(Sequence(AttentionPolicy::Full(), 2, 2, 64, 70, 7, DType::kBF16), 0, 70, 5);
}

TEST(AttentionWgmmaTest, WholePagesAreThoseThatNeedNoMask) {
  for (const AttentionPolicy& policy : OddPolicies()) {
    for (const int64_t first : {0, 63, 64, 130, 500, 1999}) {
      const Sight least = SeenBy(policy, first), most = SeenBy(policy, first + 127);
      const Sight all = Both(least, most), any = Either(least, most);
      const PageSequence pages = PagesBetween(0, any.cores, any.raw_begin, any.raw_end);
      const WholePages whole = WholePagesOf(all, pages);
      for (int64_t i = 0; i < pages.size(); ++i) {
        EXPECT_EQ(whole.Has(static_cast<int32_t>(i)), pages.IsCore(i)
                                                          ? all.WholeCorePage(pages.Page(i))
                                                          : all.WholeRawPage(pages.Page(i)))
            << policy.ToString() << " first=" << first << " page " << i;
      }
    }
  }
}

TEST(AttentionWgmmaTest, TakesWhatItCan) {
  const Sequence s(AttentionPolicy::Full(), 2, 1, 64, 10, 3, DType::kBF16);
  AttentionCase one(s, 0, 10);
  one.Arguments({.rows = 10, .prefill = true});
  EXPECT_TRUE(WgmmaTakes(one.shape(), one.launch(), 90));
  EXPECT_FALSE(WgmmaTakes(one.shape(), one.launch(), 89));
  EXPECT_FALSE(WgmmaTakes(one.shape(), one.launch(), 100));
  one.Arguments({.rows = 10});
  EXPECT_FALSE(WgmmaTakes(one.shape(), one.launch(), 90));
  const Sequence other(AttentionPolicy::Full(), 2, 1, 32, 10, 3, DType::kBF16);
  AttentionCase small(other, 0, 10);
  small.Arguments({.rows = 10, .prefill = true});
  EXPECT_FALSE(WgmmaTakes(small.shape(), small.launch(), 90));
}

}  // namespace
}  // namespace longleaf::kernels::cuda
