#include "service/scheduler/token_shares.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace longleaf::service {
namespace {

using ::testing::ElementsAre;

class TokenSharesTest : public ::testing::Test {
 protected:
  static std::vector<const Flow*> Pointers(const std::vector<Flow>& flows) {
    std::vector<const Flow*> pointers;
    for (const Flow& flow : flows) {
      pointers.push_back(&flow);
    }
    return pointers;
  }
  void SetActive(const std::vector<Flow>& ready, const std::vector<Flow>& waiting = {}) {
    shares_.SetActive(Pointers(ready), Pointers(waiting));
  }
  std::vector<size_t> Order(const std::vector<Flow>& flows) const {
    return shares_.Order(Pointers(flows));
  }

  TokenShares shares_;
  const Flow a1_{"a", "1"};
  const Flow a2_{"a", "2"};
  const Flow b1_{"b", "1"};
  const Flow c1_{"c", "1"};
};

TEST_F(TokenSharesTest, TenantsThenDocumentsThenTheOrderGiven) {
  SetActive({a1_, a2_, b1_});
  EXPECT_THAT(Order({a1_, a2_, b1_}), ElementsAre(0, 1, 2));
  EXPECT_THAT(Order({b1_, a2_, a1_}), ElementsAre(0, 1, 2));
  shares_.Charge(a1_, 5);
  EXPECT_THAT(Order({a1_, a2_, b1_}), ElementsAre(2, 1, 0));
  shares_.Charge(b1_, 6);  // more than all of a
  EXPECT_THAT(Order({b1_, a1_, a2_, a1_}), ElementsAre(2, 1, 3, 0));
  EXPECT_EQ(shares_.TenantLead("b"), 6);
  SetActive({a1_, a2_, b1_});
  EXPECT_EQ(shares_.TenantLead("a"), 0);
  EXPECT_EQ(shares_.TenantLead("b"), 1);
  EXPECT_EQ(shares_.TenantLead("nobody"), 0);
  EXPECT_THAT(Order({}), ElementsAre());
}

TEST_F(TokenSharesTest, ANewcomerBeginsWhereTheLeastServedIs) {
  SetActive({a1_, b1_});
  shares_.Charge(a1_, 1000);
  shares_.Charge(b1_, 700);
  SetActive({a1_, b1_, c1_});
  EXPECT_EQ(shares_.TenantLead("c"), 0);
  EXPECT_THAT(Order({a1_, b1_, c1_}), ElementsAre(1, 2, 0));
  shares_.Charge(c1_, 1);
  EXPECT_THAT(Order({a1_, b1_, c1_}), ElementsAre(1, 2, 0));
  shares_.Charge(b1_, 2);
  EXPECT_THAT(Order({a1_, b1_, c1_}), ElementsAre(2, 1, 0));
}

TEST_F(TokenSharesTest, TimeAwayEarnsNothingAndForgivesNothing) {
  SetActive({a1_, b1_, c1_});
  shares_.Charge(a1_, 500);
  shares_.Charge(c1_, 900);
  SetActive({a1_, c1_});  // b goes with nothing served
  for (int i = 0; i < 10; ++i) {
    shares_.Charge(a1_, 100);
    SetActive({a1_, c1_});
  }
  SetActive({a1_, b1_, c1_});
  EXPECT_EQ(shares_.TenantLead("b"), 0);
  EXPECT_EQ(shares_.TenantLead("c"), 0);
  EXPECT_EQ(shares_.TenantLead("a"), 600);
  SetActive({b1_});  // a goes, and comes back soon
  SetActive({a1_, b1_});
  EXPECT_EQ(shares_.TenantLead("a"), 600);
}

TEST_F(TokenSharesTest, DocumentsOfATenantShareAmongThemselves) {
  SetActive({a1_, a2_, b1_});
  shares_.Charge(a1_, 100);
  const Flow a3{"a", "3"};
  SetActive({a1_, a2_, a3, b1_});
  shares_.Charge(a3, 10);
  shares_.Charge(b1_, 1'000'000);
  EXPECT_THAT(Order({a1_, a2_, a3, b1_}), ElementsAre(1, 2, 0, 3));
}

TEST_F(TokenSharesTest, WhoWaitsFallsBackByABoundedLag) {
  SetActive({a1_}, {b1_, c1_});
  for (int64_t served = 0; served < 10 * TokenShares::kMaxLag; served += 512) {
    shares_.Charge(a1_, 512);
    SetActive({a1_}, {b1_, c1_});
  }
  EXPECT_EQ(shares_.TenantLead("a"), TokenShares::kMaxLag);
  SetActive({a1_, b1_}, {c1_});
  EXPECT_EQ(shares_.TenantLead("a"), TokenShares::kMaxLag);
  // Who is ready and the least served is not lifted, however long it takes.
  for (int64_t served = 0; served < 10 * TokenShares::kMaxLag; served += 512) {
    shares_.Charge(a1_, 512);
    SetActive({a1_, b1_}, {c1_});
  }
  EXPECT_GE(shares_.TenantLead("a"), 10 * TokenShares::kMaxLag);
}

TEST_F(TokenSharesTest, AnswersOfSomebodyWithoutOtherWorkAreChargedToo) {
  SetActive({a1_});
  shares_.Charge(b1_, 50);  // it answers only
  SetActive({a1_, b1_});
  EXPECT_EQ(shares_.TenantLead("b"), 50);
}

TEST_F(TokenSharesTest, MemoryIsBounded) {
  SetActive({a1_});
  for (int i = 0; i < 100'000; ++i) {
    const Flow passing{absl::StrCat("t", i % 5000), absl::StrCat("d", i)};
    const Flow own{"a", absl::StrCat("d", i)};
    SetActive({a1_, passing, own});
    shares_.Charge(passing, 1000);
    shares_.Charge(own, 1000);
  }
  SetActive({a1_});
  EXPECT_LT(shares_.flows(), 256u * 16 + 200);
  SetActive({});
  EXPECT_EQ(shares_.flows(), 0u);
}

TEST_F(TokenSharesTest, TheMostServedOfThoseGoneAreRemembered) {
  SetActive({a1_});
  shares_.Charge({"heavy", "1"}, 1'000'000);
  for (int i = 0; i < 1000; ++i) {
    SetActive({a1_});
    shares_.Charge({absl::StrCat("light", i), "1"}, 5);
  }
  EXPECT_EQ(shares_.TenantLead("heavy"), 1'000'000);
}

TEST_F(TokenSharesTest, CountersDoNotOverflow) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  SetActive({a1_, b1_});
  for (int i = 0; i < 10'000'000 && !HasFailure(); i += 1'000) {
    shares_.Charge(a1_, kMost);
    shares_.Charge(b1_, kMost);
    shares_.Charge(a1_, -kMost);  // nonsense: nothing
    SetActive({a1_, b1_});
    ASSERT_EQ(shares_.TenantLead("a"), 0);
    ASSERT_EQ(shares_.TenantLead("b"), 0);
  }
  // Far beyond where counters begin anew: differences survive.
  for (int i = 0; i < 2'000'000; ++i) {
    shares_.Charge(a1_, kMost);
    shares_.Charge(b1_, kMost);
    if (i % 1000 == 0) {
      SetActive({a1_, b1_});
    }
  }
  shares_.Charge(a1_, 7);
  SetActive({a1_, b1_});
  EXPECT_EQ(shares_.TenantLead("a"), 7);
  EXPECT_THAT(Order({a1_, b1_}), ElementsAre(1, 0));
}

}  // namespace
}  // namespace longleaf::service
