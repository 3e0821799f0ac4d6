#include "service/evidence.h"

#include <gtest/gtest.h>

#include <numeric>

namespace longleaf::service {
namespace {

using kernels::AttentionPolicy;
using kernels::CoreHeads;

// Document token i ends at byte 10 * (i + 1).
std::vector<int64_t> Ends(int64_t tokens) {
  std::vector<int64_t> ends(static_cast<size_t>(tokens));
  for (size_t i = 0; i < ends.size(); ++i) {
    ends[i] = 10 * static_cast<int64_t>(i + 1);
  }
  return ends;
}

TEST(Evidence, ACoreTokenIsItsGroupsBytes) {
  // g=4, w=8: query 40 (0-based) sees cores 1..8 (tokens 0-31) and raw tokens 32..40.
  EvidenceCollector evidence(AttentionPolicy::Cca(4, 8, CoreHeads::kQuery), 1, 36);
  float* const mass = evidence.Prepare(40);
  mass[5] = 3;      // tokens 20-23: document tokens 19-22
  mass[8 + 0] = 1;  // token 32: document token 31
  evidence.Add();
  const std::vector<EvidenceSpan> spans = evidence.Strongest(2, Ends(36));
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].begin_byte, 190);
  EXPECT_EQ(spans[0].end_byte, 230);
  EXPECT_FLOAT_EQ(spans[0].weight, 0.75f);
  EXPECT_EQ(spans[1].begin_byte, 310);
  EXPECT_EQ(spans[1].end_byte, 350);
}

TEST(Evidence, NeighbouringGroupsAreOnePassage) {
  EvidenceCollector evidence(AttentionPolicy::Cca(4, 8, CoreHeads::kQuery), 1, 36);
  float* const mass = evidence.Prepare(40);
  mass[3] = 1;
  mass[4] = 1;
  evidence.Add();
  const std::vector<EvidenceSpan> spans = evidence.Strongest(1, Ends(36));
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0].begin_byte, 110);
  EXPECT_EQ(spans[0].end_byte, 190);
}

TEST(Evidence, TheFirstGroupHoldsBosAndDoesNotCount) {
  EvidenceCollector evidence(AttentionPolicy::Cca(4, 8, CoreHeads::kQuery), 1, 36);
  evidence.Prepare(40)[0] = 100;
  evidence.Add();
  EXPECT_TRUE(evidence.Strongest(4, Ends(36)).empty());
}

TEST(Evidence, TokensOfTheQuestionAreNotEvidence) {
  EvidenceCollector evidence(AttentionPolicy::Full(), 1, 20);
  float* const mass = evidence.Prepare(60);
  std::fill(mass, mass + 61, 1.0f);
  evidence.Add();
  for (const EvidenceSpan& span : evidence.Strongest(16, Ends(20))) {
    EXPECT_LE(span.end_byte, 200);
  }
}

TEST(Evidence, SinksAreRawTokens) {
  EvidenceCollector evidence(AttentionPolicy::Streaming(16, 8), 1, 60);
  float* const mass = evidence.Prepare(50);  // sinks 0-15, raw 43-50
  mass[9] = 1;                               // token 9, in the unit of tokens 8-15
  evidence.Add();
  const std::vector<EvidenceSpan> spans = evidence.Strongest(1, Ends(60));
  ASSERT_EQ(spans.size(), 1u);
  EXPECT_EQ(spans[0].begin_byte, 70);
  EXPECT_EQ(spans[0].end_byte, 150);
}

}  // namespace
}  // namespace longleaf::service
