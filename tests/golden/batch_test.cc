// One ragged batch of several states against each state alone, and the rules of a step.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/golden/golden_case.h"

namespace longleaf::model {
namespace {

class GoldenBatch : public testing::TestWithParam<BackendKind> {
 protected:
  GoldenBatch() : golden_(LoadCase("gqa")), runner_(GetParam(), golden_, {.max_step_tokens = 256}) {
    golden_.policies = WithStreaming(std::move(golden_.policies));
  }

  absl::Span<const int32_t> Tokens(int64_t first, int64_t count) const {
    return absl::MakeConstSpan(golden_.tokens)
        .subspan(static_cast<size_t>(first), static_cast<size_t>(count));
  }
  std::unique_ptr<kernels::State> StateAt(const kernels::AttentionPolicy& policy, int64_t tokens) {
    auto state = runner_.NewState(policy);
    if (tokens > 0) runner_.Read(*state, Tokens(0, tokens), 32, 0);
    return state;
  }
  absl::Status TryStep(const ForwardItem& item) {
    return runner_.transformer().Forward({&item, 1}).status();
  }

  GoldenCase golden_;
  Runner runner_;
};

TEST_P(GoldenBatch, RowsInABatchAgreeWithRowsAlone) {
  ASSERT_TRUE(runner_.ok());
  struct Member {
    int64_t seen;
    int64_t rows;
    int64_t outputs;
  };
  // A decode, a prefill that wants nothing, one that wants its end, one from nothing, a decode.
  const std::vector<Member> members = {{50, 1, 1}, {17, 23, 0}, {8, 9, 3}, {0, 31, 31}, {3, 1, 1}};
  for (const PolicyCase& policy : golden_.policies) {
    SCOPED_TRACE(policy.policy.ToString());
    std::vector<std::unique_ptr<kernels::State>> states;
    std::vector<ForwardItem> items;
    std::vector<std::string> alone_bytes;
    LogitRows alone;
    for (const Member& member : members) {
      const auto twin = StateAt(policy.policy, member.seen);
      const ForwardItem item = {.state = twin.get(),
                                .tokens = Tokens(member.seen, member.rows),
                                .outputs = member.outputs};
      const LogitRows rows = runner_.Step({item});
      alone.vocab = rows.vocab;
      alone.values.insert(alone.values.end(), rows.values.begin(), rows.values.end());
      alone_bytes.push_back(Bytes(runner_.backend(), *twin));
      states.push_back(StateAt(policy.policy, member.seen));
      items.push_back(item);
      items.back().state = states.back().get();
    }
    const int64_t passes = runner_.transformer().weight_passes();
    const LogitRows together = runner_.Step(items);
    EXPECT_EQ(runner_.transformer().weight_passes(), passes + 1);
    ASSERT_EQ(together.rows(), 36);
    EXPECT_TRUE(Agree(together, alone));
    for (size_t i = 0; i < states.size(); ++i) {
      EXPECT_EQ(states[i]->tokens(), members[i].seen + members[i].rows);
      EXPECT_EQ(Bytes(runner_.backend(), *states[i]).size(), alone_bytes[i].size());
    }
  }
}

// 32 questions on one text, which read its cores and its tail together, beside another text that is
// read meanwhile: each gets the logits that it gets alone.
TEST_P(GoldenBatch, BranchesInABatchAgreeWithBranchesAlone) {
  // The reference, and the emulator, would take seconds for the long text.
  const GoldenCase golden = LoadCase(GetParam() == BackendKind::kCpu ? "paper" : "gqa");
  Runner runner(GetParam(), golden, {.max_step_tokens = 512});
  ASSERT_TRUE(runner.ok());
  const absl::Span<const int32_t> tokens = absl::MakeConstSpan(golden.tokens);
  const size_t cut = tokens.size() - 64;
  for (const PolicyCase& policy : WithStreaming(golden.policies)) {
    SCOPED_TRACE(policy.policy.ToString());
    const auto parent = runner.NewState(policy.policy);
    runner.Read(*parent, tokens.subspan(0, cut), 256, 0);
    std::vector<std::unique_ptr<kernels::State>> branches;
    std::vector<ForwardItem> items;
    LogitRows alone;
    for (size_t i = 0; i < 32; ++i) {
      // They have come differently far, and some still read their question.
      const size_t read = i % 7;
      const size_t rows = i % 5 == 0 ? 9 : 1;
      for (const bool twin : {true, false}) {
        branches.push_back(runner.Branch(*parent));
        if (read > 0) runner.Read(*branches.back(), tokens.subspan(i, read), 4, 0);
        items.push_back({.state = branches.back().get(),
                         .tokens = tokens.subspan(cut + i, rows),
                         .outputs = 1});
        if (!twin) continue;
        const LogitRows row = runner.Step({items.back()});
        alone.vocab = row.vocab;
        alone.values.insert(alone.values.end(), row.values.begin(), row.values.end());
        items.pop_back();
      }
    }
    const auto other = runner.NewState(policy.policy);
    items.push_back({.state = other.get(), .tokens = tokens.subspan(0, 100), .outputs = 0});
    EXPECT_TRUE(Agree(runner.Step(items), alone));
  }
}

TEST_P(GoldenBatch, TheSameTwiceIsTheSameBits) {
  ASSERT_TRUE(runner_.ok());
  for (const PolicyCase& policy : golden_.policies) {
    const auto a = StateAt(policy.policy, 40);
    const auto b = StateAt(policy.policy, 40);
    EXPECT_TRUE(Identical(runner_.Read(*a, Tokens(40, 20), 7, 20),
                          runner_.Read(*b, Tokens(40, 20), 7, 20)));
    EXPECT_TRUE(Bytes(runner_.backend(), *a) == Bytes(runner_.backend(), *b));
  }
}

// Steps that want no logits build the same state as those that do.
TEST_P(GoldenBatch, UnwantedRowsChangeNothingInTheState) {
  ASSERT_TRUE(runner_.ok());
  for (const PolicyCase& policy : golden_.policies) {
    const auto quiet = runner_.NewState(policy.policy);
    const auto loud = runner_.NewState(policy.policy);
    EXPECT_EQ(runner_.Read(*quiet, Tokens(0, 60), 20, 0).rows(), 0);
    EXPECT_EQ(runner_.Read(*loud, Tokens(0, 60), 20, 60).rows(), 60);
    EXPECT_TRUE(Bytes(runner_.backend(), *quiet) == Bytes(runner_.backend(), *loud));
  }
}

TEST_P(GoldenBatch, AttentionMassAddsUpToLayersTimesHeads) {
  ASSERT_TRUE(runner_.ok());
  const Config& config = runner_.transformer().config();
  for (const PolicyCase& policy : golden_.policies) {
    SCOPED_TRACE(policy.policy.ToString());
    const auto state = StateAt(policy.policy, 50);
    const auto twin = StateAt(policy.policy, 50);
    const int64_t query = 50 + 7;  // 1-based, of the last row
    const int64_t seen = policy.policy.CoresVisible(query) + query - policy.policy.FirstRaw(query);
    std::vector<float> mass(static_cast<size_t>(seen), 0.0f);
    ForwardItem item = {
        .state = state.get(), .tokens = Tokens(50, 7), .outputs = 1, .attention_mass = mass.data()};
    const LogitRows with = runner_.Step({item});
    item.state = twin.get();
    item.attention_mass = nullptr;
    EXPECT_TRUE(Identical(with, runner_.Step({item})));
    double sum = 0;
    for (const float m : mass) {
      EXPECT_GE(m, 0.0f);
      sum += static_cast<double>(m);
    }
    EXPECT_NEAR(sum, static_cast<double>(config.layers * config.query_heads), 1e-3);
  }
}

TEST_P(GoldenBatch, BrokenRulesAreRefusedAndChangeNothing) {
  ASSERT_TRUE(runner_.ok());
  const auto policy = golden_.policies.front().policy;
  const auto state = StateAt(policy, 20);
  const std::string before = Bytes(runner_.backend(), *state);
  const std::vector<int32_t> too_many(257, 5);
  const std::vector<int32_t> unknown = {5, 320};
  const std::vector<int32_t> negative = {-1};
  std::vector<float> mass(1000);
  const ForwardItem good = {.state = state.get(), .tokens = Tokens(20, 4), .outputs = 1};
  ForwardItem item = good;
  item.state = nullptr;
  EXPECT_EQ(TryStep(item).code(), absl::StatusCode::kInvalidArgument);
  item = good;
  item.tokens = {};
  EXPECT_EQ(TryStep(item).code(), absl::StatusCode::kInvalidArgument);
  for (const auto* tokens : {&too_many, &unknown, &negative}) {
    item = good;
    item.tokens = *tokens;
    EXPECT_EQ(TryStep(item).code(), absl::StatusCode::kInvalidArgument);
  }
  for (const int64_t outputs : {-1, 5}) {
    item = good;
    item.outputs = outputs;
    EXPECT_EQ(TryStep(item).code(), absl::StatusCode::kInvalidArgument);
  }
  item = good;
  item.outputs = 0;
  item.attention_mass = mass.data();
  EXPECT_EQ(TryStep(item).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(runner_.transformer().Forward({}).status().code(), absl::StatusCode::kInvalidArgument);
  const std::vector<ForwardItem> twice = {good, good};
  EXPECT_EQ(runner_.transformer().Forward(twice).status().code(),
            absl::StatusCode::kInvalidArgument);

  EXPECT_TRUE(Bytes(runner_.backend(), *state) == before);
  EXPECT_TRUE(TryStep(good).ok());
}

TEST_P(GoldenBatch, StateOfAnotherModelIsRefused) {
  ASSERT_TRUE(runner_.ok());
  const GoldenCase other = LoadCase("mha");
  Runner other_runner(GetParam(), other);
  ASSERT_TRUE(other_runner.ok());
  auto stranger = runner_.backend().NewState(other_runner.transformer().shape());
  ASSERT_TRUE(stranger.ok());
  EXPECT_EQ(TryStep({.state = stranger->get(), .tokens = Tokens(0, 4), .outputs = 1}).code(),
            absl::StatusCode::kInvalidArgument);
}

// A step in which one state does not fit into memory changes none of them.
TEST_P(GoldenBatch, OutOfMemoryLeavesAllStatesAlone) {
  Runner small(GetParam(), golden_, {.max_step_tokens = 256, .state_capacity_bytes = 50 << 10});
  ASSERT_TRUE(small.ok());
  const auto first = small.NewState(kernels::AttentionPolicy::Full());
  small.Read(*first, Tokens(0, 20), 20, 0);
  const std::string before = Bytes(small.backend(), *first);
  const int64_t used = small.backend().memory().state_bytes;
  std::vector<std::unique_ptr<kernels::State>> others;
  std::vector<ForwardItem> items = {{.state = first.get(), .tokens = Tokens(20, 2), .outputs = 1}};
  // Three times 80 tokens of 2 layers * 2 * 2 heads * 8 * 4 bytes are above the budget.
  while (items.size() < 4) {
    others.push_back(small.NewState(kernels::AttentionPolicy::Full()));
    items.push_back({.state = others.back().get(), .tokens = Tokens(0, 80)});
  }
  const auto too_much = small.transformer().Forward(items);
  EXPECT_EQ(too_much.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(first->tokens(), 20);
  EXPECT_EQ(others.front()->tokens(), 0);
  EXPECT_EQ(small.backend().memory().state_bytes, used);
  EXPECT_TRUE(Bytes(small.backend(), *first) == before);
  items.resize(1);
  EXPECT_TRUE(small.transformer().Forward(items).ok());
}

INSTANTIATE_TEST_SUITE_P(All, GoldenBatch, testing::ValuesIn(BackendsHere()),
                         [](const auto& param) { return NameOf(param.param); });

}  // namespace
}  // namespace longleaf::model
