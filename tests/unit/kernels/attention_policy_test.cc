// Policies: text in and out, and which positions a query sees.
#include "kernels/attention_policy.h"

#include "gtest/gtest.h"

namespace longleaf::kernels {
namespace {

TEST(AttentionPolicyTest, TextRoundTrips) {
  for (const char* text : {"full", "cca:g=16,w=1024,heads=query", "cca:g=1,w=1,heads=kv",
                           "streaming:sinks=4,w=1024", "streaming:sinks=0,w=1"}) {
    const auto policy = AttentionPolicy::Parse(text);
    ASSERT_TRUE(policy.ok()) << policy.status().ToString();
    EXPECT_EQ(policy->ToString(), text);
    EXPECT_EQ(AttentionPolicy::Parse(policy->ToString()).value(), *policy);
  }
}

TEST(AttentionPolicyTest, KeysComeInAnyOrderAndHeadsHaveADefault) {
  EXPECT_EQ(AttentionPolicy::Parse("cca:w=64,g=16").value(),
            AttentionPolicy::Cca(16, 64, CoreHeads::kQuery));
  EXPECT_EQ(AttentionPolicy::Parse("streaming:w=8,sinks=2").value(),
            AttentionPolicy::Streaming(2, 8));
}

TEST(AttentionPolicyTest, RefusesWhatItDoesNotKnow) {
  for (const char* text : {"",
                           "Full",
                           "full:",
                           "cca",
                           "cca:",
                           "cca:g=16",
                           "cca:w=1024",
                           "cca:g=16,w=1000",
                           "cca:g=16,w=8",
                           "cca:g=0,w=16",
                           "cca:g=-4,w=16",
                           "cca:g=4,w=8,heads=key",
                           "cca:g=4,g=4,w=8",
                           "cca:g=4,w=8,",
                           "cca:g=4,w=8,x=1",
                           "cca:g=4,w=",
                           "cca:g=x,w=8",
                           "cca:g=4,w=99999999999999999999",
                           "cca:g=4294967296,w=8589934592",
                           "streaming:w=8",
                           "streaming:sinks=-1,w=8",
                           "streaming:sinks=4,w=0",
                           "streaming:sinks=4,w=8,heads=kv",
                           "local:w=8"}) {
    EXPECT_EQ(AttentionPolicy::Parse(text).status().code(), absl::StatusCode::kInvalidArgument)
        << text;
  }
}

// Every earlier position is seen once: as a raw token, or in a core token (cca, full).
TEST(AttentionPolicyTest, CoversEveryPositionOnce) {
  for (const AttentionPolicy& policy :
       {AttentionPolicy::Full(), AttentionPolicy::Cca(4, 8, CoreHeads::kQuery),
        AttentionPolicy::Cca(1, 1, CoreHeads::kQuery),
        AttentionPolicy::Cca(24, 48, CoreHeads::kKeyValue)}) {
    for (int64_t i = 1; i <= 300; ++i) {
      EXPECT_EQ(policy.CoresVisible(i) * std::max<int64_t>(policy.group, 1), policy.FirstRaw(i));
      EXPECT_LE(policy.CoresVisible(i), policy.CoresAfter(i));
      EXPECT_GE(policy.FirstRaw(i + 1), policy.FirstRaw(i));
      if (policy.kind == AttentionPolicy::Kind::kCca && i > policy.window) {
        const int64_t raw = i - policy.FirstRaw(i);
        EXPECT_GE(raw, policy.window);
        EXPECT_LT(raw, policy.window + policy.group);
      }
    }
  }
}

TEST(AttentionPolicyTest, StreamingSeesSinksAndWindow) {
  const AttentionPolicy policy = AttentionPolicy::Streaming(4, 8);
  EXPECT_EQ(policy.CoresVisible(8), 0);
  EXPECT_EQ(policy.CoresVisible(10), 2);  // tokens 1 and 2 have left the window
  EXPECT_EQ(policy.FirstRaw(10), 2);
  EXPECT_EQ(policy.CoresVisible(100), 4);
  EXPECT_EQ(policy.FirstRaw(100), 92);
  EXPECT_EQ(policy.CoresAfter(2), 2);
  EXPECT_EQ(policy.CoresAfter(100), 4);
}

TEST(AttentionPolicyTest, CoreHeadsFollowThePolicy) {
  EXPECT_EQ(AttentionPolicy::Cca(4, 8, CoreHeads::kQuery).CoreHeadCount(8, 2), 8);
  EXPECT_EQ(AttentionPolicy::Cca(4, 8, CoreHeads::kKeyValue).CoreHeadCount(8, 2), 2);
  EXPECT_EQ(AttentionPolicy::Streaming(4, 8).CoreHeadCount(8, 2), 2);
}

}  // namespace
}  // namespace longleaf::kernels
