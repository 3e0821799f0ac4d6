// States: any split of the input gives the same, branches share and diverge, a step happens whole
// or not at all, memory has a limit.
#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu/page.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

class StateTest : public BackendTest {};
LONGLEAF_ON_ALL_BACKENDS(StateTest);

TEST_P(StateTest, AgreesWithTheReferenceInOneStep) {
  for (const StateShape& shape : ShapesHere()) {
    for (int64_t length : {1, 62, 64, 65, 127, 287}) {
      const Sequence sequence(shape, length, 3);
      auto reference = Make(Kind::kReference);
      auto expected_state = reference->NewState(shape).value();
      auto state = backend_->NewState(shape).value();
      const std::vector<float> expected =
          Feed(*reference, *expected_state, sequence, length, length);
      const std::vector<float> actual = Feed(*backend_, *state, sequence, length, length);
      EXPECT_LE(LargestGap(actual, expected),
                AttentionTolerance(shape) * LargestMagnitude(expected))
          << Describe(shape) << ", " << length << " tokens";
      EXPECT_EQ(state->tokens(), length);
      EXPECT_EQ(state->cores(), shape.policy.CoresAfter(length));
      EXPECT_EQ(state->first_raw(), shape.policy.FirstRaw(length));
      const std::vector<float> held = ExportAll(*reference, *expected_state);
      EXPECT_LE(LargestGap(ExportAll(*backend_, *state), held),
                StateTolerance(shape) * LargestMagnitude(held))
          << Describe(shape) << ", " << length << " tokens";
    }
  }
}

TEST_P(StateTest, AnySplitGivesTheSame) {
  for (const StateShape& shape : ShapesHere()) {
    constexpr int64_t kLength = 150;
    const Sequence sequence(shape, kLength, 5);
    auto whole = backend_->NewState(shape).value();
    const std::vector<float> expected = Feed(*backend_, *whole, sequence, kLength, kLength);
    const std::vector<std::byte> held = ExportBytes(*backend_, *whole);
    const int64_t g = std::max<int64_t>(shape.policy.group, 2);
    for (int64_t chunk : {int64_t{1}, int64_t{7}, g - 1, g, g + 1, int64_t{64}, int64_t{65}}) {
      auto state = backend_->NewState(shape).value();
      const std::vector<float> actual = Feed(*backend_, *state, sequence, kLength, chunk);
      EXPECT_LE(LargestGap(actual, expected),
                AttentionTolerance(shape) * LargestMagnitude(expected))
          << Describe(shape) << ", chunks of " << chunk;
      // Equal queries, keys and values make equal states, bit for bit, however they come.
      EXPECT_EQ(ExportBytes(*backend_, *state), held) << Describe(shape) << ", chunks of " << chunk;
    }
  }
}

TEST_P(StateTest, EqualStepsGiveEqualBits) {
  for (const StateShape& shape : ShapesHere()) {
    const Sequence sequence(shape, 130, 6);
    auto first = backend_->NewState(shape).value(), second = backend_->NewState(shape).value();
    EXPECT_EQ(Feed(*backend_, *first, sequence, 130, 33),
              Feed(*backend_, *second, sequence, 130, 33));
    EXPECT_EQ(ExportAll(*backend_, *first), ExportAll(*backend_, *second));
  }
}

// Position 100,000 with angles in float32 would be off by 1e-2 rad.
TEST_P(StateTest, AnglesAreExactFarOut) {
  const StateShape shape = ShapeOf(2, 1, 64, "cca:g=4,w=8");
  const Sequence sequence(shape, 40, 7);
  auto reference = Make(Kind::kReference);
  auto expected = reference->NewState(shape).value(), state = backend_->NewState(shape).value();
  Feed(*reference, *expected, sequence, 40, 40, 100000);
  Feed(*backend_, *state, sequence, 40, 13, 100000);
  const std::vector<float> held = ExportAll(*reference, *expected);
  EXPECT_LE(LargestGap(ExportAll(*backend_, *state), held), 4 * kEpsilon * LargestMagnitude(held));
}

TEST_P(StateTest, MembersOfABatchDoNotTouchEachOther) {
  for (const StateShape& shape : ShapesHere()) {
    const int64_t before[] = {0, 63, 5, 130}, rows[] = {70, 1, 3, 1};
    std::vector<Sequence> sequences;
    std::vector<std::unique_ptr<State>> together, alone;
    std::vector<Member> members;
    for (size_t i = 0; i < 4; ++i)
      sequences.emplace_back(shape, 140, static_cast<uint32_t>(20 + i));
    for (size_t i = 0; i < 4; ++i) {
      together.push_back(backend_->NewState(shape).value());
      alone.push_back(backend_->NewState(shape).value());
      Feed(*backend_, *together[i], sequences[i], before[i], 64);
      Feed(*backend_, *alone[i], sequences[i], before[i], 64);
      const int64_t outputs = i == 2 ? 0 : (rows[i] + 1) / 2;
      members.push_back({together[i].get(), &sequences[i], rows[i], outputs});
    }
    const StepResult result = RunStep(*backend_, members, 0);
    backend_->CommitStep(BatchOf(members));
    for (size_t i = 0; i < 4; ++i) {
      std::vector<Member> one = {members[i]};
      one[0].state = alone[i].get();
      const StepResult expected = RunStep(*backend_, one, 0);
      backend_->CommitStep(BatchOf(one));
      for (size_t layer = 0; layer < 2; ++layer) {
        const std::vector<float>& e = expected.attention[layer][0];
        EXPECT_LE(LargestGap(result.attention[layer][i], e),
                  AttentionTolerance(shape) * LargestMagnitude(e));
      }
      EXPECT_EQ(ExportAll(*backend_, *together[i]), ExportAll(*backend_, *alone[i]));
    }
  }
}

TEST_P(StateTest, BranchesShareThenDiverge) {
  for (const StateShape& shape : ShapesHere()) {
    constexpr int64_t kPrefix = 90, kLength = 140;
    const Sequence first(shape, kLength, 31);
    const Sequence second(first, kPrefix, 32), third(first, kPrefix, 33);
    auto parent = backend_->NewState(shape).value();
    Feed(*backend_, *parent, first, kPrefix, 40);
    const std::vector<float> at_branch = ExportAll(*backend_, *parent);
    auto a = backend_->Branch(*parent).value();
    auto b = backend_->Branch(*a).value();
    EXPECT_EQ(ExportAll(*backend_, *b), at_branch);
    // All three in one step, so that every one of them copies what it writes to.
    std::vector<Member> members = {
        {parent.get(), &first, 3, 1}, {a.get(), &second, 20, 1}, {b.get(), &third, 1, 1}};
    RunStep(*backend_, members, 0);
    backend_->CommitStep(BatchOf(members));
    Feed(*backend_, *b, third, kLength, 9);
    parent.reset();
    Feed(*backend_, *a, second, kLength, 9);
    for (const auto& [state, sequence] : {std::pair{&a, &second}, std::pair{&b, &third}}) {
      auto fresh = backend_->NewState(shape).value();
      Feed(*backend_, *fresh, *sequence, kLength, kLength);
      EXPECT_EQ(ExportBytes(*backend_, **state), ExportBytes(*backend_, *fresh)) << Describe(shape);
    }
    a.reset();
    EXPECT_EQ(backend_->memory().state_bytes, b->bytes()) << Describe(shape);
    b.reset();
    EXPECT_EQ(backend_->memory().state_bytes, 0) << Describe(shape);
  }
}

TEST_P(StateTest, AnAbortedStepLeavesNoTrace) {
  for (const StateShape& shape : ShapesHere()) {
    const Sequence sequence(shape, 200, 41), other(shape, 200, 42);
    auto state = backend_->NewState(shape).value();
    Feed(*backend_, *state, sequence, 70, 70);
    auto branch = backend_->Branch(*state).value();  // so that partial pages are shared
    const std::vector<float> before = ExportAll(*backend_, *state);
    const int64_t bytes = backend_->memory().state_bytes;
    const std::vector<Member> members = {{state.get(), &other, 77, 1},
                                         {branch.get(), &other, 3, 3}};
    RunStep(*backend_, members, 0);
    backend_->AbortStep(BatchOf(members));
    EXPECT_EQ(state->tokens(), 70);
    EXPECT_EQ(backend_->memory().state_bytes, bytes) << Describe(shape);
    EXPECT_EQ(ExportAll(*backend_, *state), before);
    // Stopped between the layers.
    ASSERT_TRUE(backend_->BeginStep(BatchOf(members)).ok());
    auto qkv = backend_->Allocate(80, sequence.width).value();
    ASSERT_TRUE(
        backend_->RotaryAppendPool(0, BatchOf(members), RotaryFor(shape), qkv->tensor()).ok());
    backend_->AbortStep(BatchOf(members));
    EXPECT_EQ(backend_->memory().state_bytes, bytes) << Describe(shape);
    // Somebody else gets the pages that the step gave back.
    auto stranger = backend_->NewState(shape).value();
    Feed(*backend_, *stranger, other, 70, 70);
    EXPECT_EQ(ExportAll(*backend_, *state), before);
    EXPECT_EQ(ExportAll(*backend_, *branch), before);
    // And then the right thing.
    auto fresh = backend_->NewState(shape).value();
    EXPECT_LE(LargestGap(Feed(*backend_, *state, sequence, 150, 80),
                         [&] {
                           Feed(*backend_, *fresh, sequence, 70, 70);
                           return Feed(*backend_, *fresh, sequence, 150, 80);
                         }()),
              0)
        << Describe(shape);
    EXPECT_EQ(ExportAll(*backend_, *branch), before);
  }
}

TEST_P(StateTest, MemoryIsCountedAndGivenBack) {
  for (const StateShape& shape : ShapesHere()) {
    const Sequence sequence(shape, 400, 51);
    auto state = backend_->NewState(shape).value();
    EXPECT_EQ(state->bytes(), 0);
    while (state->tokens() < 400) {
      const int64_t before = backend_->memory().state_bytes;
      const int64_t grow = backend_->BytesToGrow(*state, 50);
      const std::vector<Member> members = {{state.get(), &sequence, 50, 1}};
      RunStep(*backend_, members, 0);
      EXPECT_EQ(backend_->memory().state_bytes, before + grow) << Describe(shape);
      backend_->CommitStep(BatchOf(members));
      EXPECT_EQ(backend_->memory().state_bytes, state->bytes());
    }
    // No more than the arithmetic of the state, rounded up to pages.
    const int64_t pages = (400 - state->first_raw()) / kPageTokens + 2;
    const int64_t core_pages = state->cores() / kPageTokens + 1;
    const PageLayout raw{shape.dtype, shape.kv_heads, shape.head_dim};
    const PageLayout cores{shape.dtype, shape.core_heads(), shape.head_dim};
    EXPECT_LE(state->bytes(), shape.layers * (pages * raw.bytes() + core_pages * cores.bytes()));
    state.reset();
    EXPECT_EQ(backend_->memory().state_bytes, 0);
  }
}

TEST_P(StateTest, AFullMemoryRefusesTheStepAndChangesNothing) {
  const StateShape shape = ShapeOf(4, 2, 16, "cca:g=4,w=8");
  const Sequence sequence(shape, 2000, 61);
  const int64_t first_need = Make(GetParam())->BytesToGrow(*backend_->NewState(shape).value(), 1);
  EXPECT_GE(first_need, 0);
  auto probe = backend_->NewState(shape).value();
  const int64_t need = backend_->BytesToGrow(*probe, 300);
  auto small = Make(GetParam(), need + need / 2);
  auto a = small->NewState(shape).value(), b = small->NewState(shape).value();
  Feed(*small, *a, sequence, 100, 100);
  const std::vector<float> held = ExportAll(*small, *a);
  const int64_t used = small->memory().state_bytes;
  const std::vector<Member> members = {{a.get(), &sequence, 300, 1}, {b.get(), &sequence, 300, 1}};
  EXPECT_EQ(small->BeginStep(BatchOf(members)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(small->memory().state_bytes, used);
  EXPECT_EQ(ExportAll(*small, *a), held);
  EXPECT_EQ(a->tokens(), 100);
  EXPECT_EQ(b->bytes(), 0);
  EXPECT_EQ(small->PrepareImport(*b, 100000, 0).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(small->memory().state_bytes, used);
  EXPECT_EQ(b->tokens(), 0);
  // What fits still works, for ever: the window's pages come back.
  Feed(*small, *a, sequence, 1100, 50);
  EXPECT_LE(small->memory().state_bytes, small->memory().state_capacity_bytes);
}

TEST_P(StateTest, AttentionMassCoversWhatTheLastRowSees) {
  for (const StateShape& shape : ShapesHere()) {
    const Sequence sequence(shape, 120, 81);
    auto state = backend_->NewState(shape).value();
    Feed(*backend_, *state, sequence, 100, 50);
    const int64_t last = 120;  // 1-based position of the last row
    const size_t seen =
        static_cast<size_t>(shape.policy.CoresVisible(last) + last - shape.policy.FirstRaw(last));
    std::vector<float> mass(seen + 1, 0.0f);
    const std::vector<Member> members = {{state.get(), &sequence, 20, 1, mass.data()}};
    RunStep(*backend_, members, 0);
    backend_->CommitStep(BatchOf(members));
    double sum = 0;
    for (float m : mass) {
      EXPECT_GE(m, 0);
      sum += double{m};
    }
    // Every head and layer adds weights that sum to one.
    EXPECT_NEAR(sum, static_cast<double>(shape.layers * shape.query_heads), 1e-4)
        << Describe(shape);
    EXPECT_EQ(mass[seen], 0);
  }
}

TEST_P(StateTest, RefusesWhatDoesNotFit) {
  StateShape shape = ShapeOf(4, 2, 8, "full");
  StateShape bad = shape;
  bad.kv_heads = 3;
  EXPECT_EQ(backend_->NewState(bad).status().code(), absl::StatusCode::kInvalidArgument);
  bad = shape;
  bad.head_dim = 7;
  EXPECT_EQ(backend_->NewState(bad).status().code(), absl::StatusCode::kInvalidArgument);
  bad = shape;
  bad.layers = 0;
  EXPECT_EQ(backend_->NewState(bad).status().code(), absl::StatusCode::kInvalidArgument);

  auto a = backend_->NewState(shape).value();
  auto stranger = Make(GetParam() == Kind::kReference ? Kind::kCpuOneThread : Kind::kReference);
  auto foreign = stranger->NewState(shape).value();
  auto other_shape = backend_->NewState(ShapeOf(4, 4, 8, "full")).value();
  const auto begin = [&](std::vector<BatchItem> batch) {
    return backend_->BeginStep(batch).code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(begin({}), kInvalid);
  EXPECT_EQ(begin({{nullptr, 1, 1}}), kInvalid);
  EXPECT_EQ(begin({{a.get(), 0, 0}}), kInvalid);
  EXPECT_EQ(begin({{a.get(), 2, 3}}), kInvalid);
  EXPECT_EQ(begin({{a.get(), 1, 1}, {a.get(), 1, 1}}), kInvalid);
  EXPECT_EQ(begin({{a.get(), 1, 1}, {other_shape.get(), 1, 1}}), kInvalid);
  EXPECT_EQ(begin({{foreign.get(), 1, 1}}), kInvalid);

  const std::vector<BatchItem> batch = {{a.get(), 2, 1}};
  auto qkv = backend_->Allocate(2, 64).value(), out = backend_->Allocate(2, 32).value();
  const auto append = [&](int64_t layer, Batch b, const Rotary& rotary, Tensor t) {
    return backend_->RotaryAppendPool(layer, b, rotary, t).code();
  };
  const Rotary rotary = RotaryFor(shape);
  EXPECT_EQ(append(0, batch, rotary, qkv->tensor()), kInvalid) << "outside a step";
  ASSERT_TRUE(backend_->BeginStep(batch).ok());
  EXPECT_EQ(begin(batch), kInvalid) << "a step inside a step";
  EXPECT_EQ(append(2, batch, rotary, qkv->tensor()), kInvalid);
  EXPECT_EQ(append(0, batch, Rotary(), qkv->tensor()), kInvalid);
  EXPECT_EQ(append(0, batch, rotary, qkv->tensor().Rows(1)), kInvalid);
  const std::vector<BatchItem> one_row = {{a.get(), 1, 1}};
  EXPECT_EQ(append(0, one_row, rotary, qkv->tensor().Rows(1)), kInvalid);
  EXPECT_EQ(append(0, batch, rotary, qkv->tensor()), absl::StatusCode::kOk);
  EXPECT_EQ(backend_->Attention(0, batch, Rows::kOutputs, qkv->tensor(), out->tensor()).code(),
            kInvalid);
  EXPECT_EQ(backend_->Attention(0, batch, Rows::kAll, qkv->tensor(), qkv->tensor()).code(),
            kInvalid);
  EXPECT_TRUE(backend_->Attention(0, batch, Rows::kAll, qkv->tensor(), out->tensor()).ok());
  backend_->AbortStep(batch);
}

}  // namespace
}  // namespace longleaf::kernels
