// Every golden case and policy, for chunks of 1, 7, g-1, g, g+1, 256 tokens and the whole sequence:
// within 1e-4 of the largest logit of each row.
#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_case.h"

namespace longleaf::model {
namespace {

std::set<int64_t> ChunkSizes(const PolicyCase& policy, int64_t length) {
  const int64_t group = policy.policy.group > 0 ? policy.policy.group : 16;
  return {1, 7, group - 1, group, group + 1, std::min<int64_t>(256, length), length};
}

class GoldenLogits : public testing::TestWithParam<std::tuple<BackendKind, std::string>> {};

TEST_P(GoldenLogits, EveryChunkSizeAgrees) {
  const auto& [kind, name] = GetParam();
  const GoldenCase golden = LoadCase(name);
  Runner runner(kind, golden);
  ASSERT_TRUE(runner.ok());
  const int64_t length = static_cast<int64_t>(golden.tokens.size());
  for (const PolicyCase& policy : golden.policies) {
    for (const int64_t chunk : ChunkSizes(policy, length)) {
      // The reference takes a long sequence in minutes under a sanitizer: once is enough for it.
      if (kind == BackendKind::kReference && length > 200 &&
          (chunk != 256 || policy.policy.core_heads != kernels::CoreHeads::kKeyValue)) {
        continue;
      }
      SCOPED_TRACE(absl::StrCat(policy.policy.ToString(), " in chunks of ", chunk));
      const auto state = runner.NewState(policy.policy);
      const LogitRows logits = runner.Read(*state, golden.tokens, chunk, policy.expected.rows());
      EXPECT_TRUE(Agree(logits, policy.expected));
      EXPECT_EQ(state->tokens(), length);
    }
  }
}

// A window longer than the text is full attention, whatever the policy is called.
TEST_P(GoldenLogits, WindowLongerThanTheTextIsFullAttention) {
  const auto& [kind, name] = GetParam();
  const GoldenCase golden = LoadCase(name);
  Runner runner(kind, golden);
  ASSERT_TRUE(runner.ok());
  for (const PolicyCase& full : golden.policies) {
    if (full.policy.kind != kernels::AttentionPolicy::Kind::kFull) continue;
    for (const auto& policy :
         {kernels::AttentionPolicy::Streaming(4, 2048),
          kernels::AttentionPolicy::Streaming(0, 2048),
          kernels::AttentionPolicy::Cca(8, 2048, kernels::CoreHeads::kQuery)}) {
      // As above: one policy is enough for the reference on a long sequence.
      if (kind == BackendKind::kReference && golden.tokens.size() > 200 && policy.sinks == 0) {
        continue;
      }
      SCOPED_TRACE(policy.ToString());
      const auto state = runner.NewState(policy);
      EXPECT_TRUE(
          Agree(runner.Read(*state, golden.tokens, 100, full.expected.rows()), full.expected));
    }
  }
}

// EveryChunkSizeAgrees must be able to fail: logits of one policy are not those of another.
class GoldenDifference : public testing::TestWithParam<std::string> {};

TEST_P(GoldenDifference, AnotherPolicyDoesNotAgree) {
  const GoldenCase golden = LoadCase(GetParam());
  Runner runner(FastBackendHere(), golden);
  ASSERT_TRUE(runner.ok());
  ASSERT_GE(golden.policies.size(), 2u);
  const auto state = runner.NewState(golden.policies[0].policy);
  const LogitRows logits = runner.Read(*state, golden.tokens, 256, 1);
  const LogitRows other = {
      golden.policies[1].expected.vocab,
      {golden.policies[1].expected.Last(1).begin(), golden.policies[1].expected.Last(1).end()}};
  EXPECT_FALSE(Agree(logits, other));
}

INSTANTIATE_TEST_SUITE_P(All, GoldenLogits,
                         testing::Combine(testing::ValuesIn(BackendsHere()),
                                          testing::ValuesIn(CaseNames())),
                         [](const auto& param) {
                           return absl::StrCat(NameOf(std::get<0>(param.param)), "_",
                                               std::get<1>(param.param));
                         });

INSTANTIATE_TEST_SUITE_P(All, GoldenDifference, testing::ValuesIn(CaseNames()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace longleaf::model
