// States: stored and restored against live, branch against fresh, reference against CPU, and a step
// that is cancelled half way.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/core_state.h"
#include "model/state_codec.h"
#include "tests/golden/golden_case.h"

namespace longleaf::model {
namespace {

class GoldenState
    : public testing::TestWithParam<std::tuple<BackendKind, std::string, kernels::DType>> {
 protected:
  GoldenState()
      : golden_(LoadCase(std::get<1>(GetParam()))),
        runner_(std::get<0>(GetParam()), golden_, {.state_dtype = std::get<2>(GetParam())}) {
    golden_.policies = WithStreaming(std::move(golden_.policies));
  }

  absl::Span<const int32_t> Tokens(int64_t first, int64_t count) const {
    return absl::MakeConstSpan(golden_.tokens)
        .subspan(static_cast<size_t>(first), static_cast<size_t>(count));
  }
  int64_t length() const { return static_cast<int64_t>(golden_.tokens.size()); }

  // A new state with the content of `bytes`, as Bytes() wrote them.
  std::unique_ptr<kernels::State> Restore(const SnapshotLayout& layout, const std::string& bytes) {
    auto state = runner_.NewState(layout.shape().policy);
    size_t at = 0;
    const auto read = [&](absl::Span<std::byte> out) -> absl::Status {
      if (at + out.size() > bytes.size()) return absl::OutOfRangeError("no more bytes");
      std::memcpy(out.data(), bytes.data() + at, out.size());
      at += out.size();
      return absl::OkStatus();
    };
    EXPECT_TRUE(PrepareRestore(runner_.backend(), layout, *state).ok());
    for (int64_t segment = 0; segment < layout.segments(); ++segment) {
      EXPECT_TRUE(DecodeSegment(runner_.backend(), layout, segment, read, *state).ok());
    }
    EXPECT_TRUE(DecodeTail(runner_.backend(), layout, read, *state).ok());
    EXPECT_EQ(at, bytes.size());
    return state;
  }

  // Whether a branch gives the same bits as the state itself would. On CUDA, sums over what a state
  // sees are cut where it was branched, so that its siblings share the pieces (attention_plan.h):
  // there a branch is like every other one of an equal state, and like that state up to rounding.
  static bool BranchesGoOnAsTheirParents() { return std::get<0>(GetParam()) != BackendKind::kCuda; }

  GoldenCase golden_;
  Runner runner_;
};

TEST_P(GoldenState, RestoredGoesOnLikeLive) {
  ASSERT_TRUE(runner_.ok());
  for (const PolicyCase& policy : golden_.policies) {
    for (const int64_t cut : {int64_t{1}, int64_t{31}, length() - 10}) {
      SCOPED_TRACE(absl::StrCat(policy.policy.ToString(), " cut at ", cut));
      const auto live = runner_.NewState(policy.policy);
      runner_.Read(*live, Tokens(0, cut), 16, 0);
      // Spans of two groups, so that the few tokens make several segments.
      const int64_t span = policy.policy.group > 0 ? 2 * policy.policy.group : 8;
      const auto layout = SnapshotLayout::For(live->shape(), live->tokens(), span);
      ASSERT_TRUE(layout.ok()) << layout.status();
      const std::string bytes = Bytes(runner_.backend(), *live, span);
      EXPECT_EQ(static_cast<int64_t>(bytes.size()), StateBytes(live->shape(), cut));

      const auto restored = Restore(*layout, bytes);
      EXPECT_EQ(restored->tokens(), cut);
      EXPECT_EQ(restored->cores(), live->cores());
      EXPECT_TRUE(Bytes(runner_.backend(), *restored, span) == bytes);
      const LogitRows from_live = runner_.Read(*live, Tokens(cut, 10), 10, 10);
      const LogitRows from_restored = runner_.Read(*restored, Tokens(cut, 10), 10, 10);
      EXPECT_TRUE(Identical(from_restored, from_live));
    }
  }
}

TEST_P(GoldenState, BranchGoesOnLikeFreshAndLeavesItsParentAlone) {
  ASSERT_TRUE(runner_.ok());
  const int64_t cut = length() - 20;
  for (const PolicyCase& policy : golden_.policies) {
    SCOPED_TRACE(policy.policy.ToString());
    const auto parent = runner_.NewState(policy.policy);
    runner_.Read(*parent, Tokens(0, cut), 32, 0);
    const std::string before = Bytes(runner_.backend(), *parent);
    const auto fresh = runner_.NewState(policy.policy);
    runner_.Read(*fresh, Tokens(0, cut), 32, 0);
    const auto of_fresh = runner_.Branch(*fresh);
    const LogitRows expected = runner_.Read(*of_fresh, Tokens(cut, 20), 5, 20);
    if (BranchesGoOnAsTheirParents()) {
      EXPECT_TRUE(Identical(runner_.Read(*fresh, Tokens(cut, 20), 5, 20), expected));
    }

    const auto branch = runner_.Branch(*parent);
    const auto astray = runner_.Branch(*parent);
    runner_.Read(*astray, Tokens(0, 20), 5, 0);  // other tokens than the branch reads
    EXPECT_TRUE(Identical(runner_.Read(*branch, Tokens(cut, 20), 5, 20), expected));
    EXPECT_TRUE(Bytes(runner_.backend(), *parent) == before);
    // Nor does the parent's own way touch its branches.
    const auto late = runner_.Branch(*parent);
    runner_.Read(*parent, Tokens(0, 20), 5, 0);
    EXPECT_TRUE(Identical(runner_.Read(*late, Tokens(cut, 20), 5, 20), expected));
  }
}

TEST_P(GoldenState, CancelledStepLeavesNoTrace) {
  ASSERT_TRUE(runner_.ok());
  const int64_t cut = length() - 30;
  const int64_t layers = runner_.transformer().config().layers;
  for (const PolicyCase& policy : golden_.policies) {
    SCOPED_TRACE(policy.policy.ToString());
    const auto live = runner_.NewState(policy.policy);
    runner_.Read(*live, Tokens(0, cut), 32, 0);
    const auto twin = runner_.Branch(*live);
    const LogitRows expected = runner_.Read(*twin, Tokens(cut, 30), 30, 30);
    const std::string before = Bytes(runner_.backend(), *live);

    // The last time is after all layers, before the commit.
    for (int64_t stop_at = 0; stop_at <= layers; ++stop_at) {
      int64_t asked = 0;
      const ForwardItem item = {.state = live.get(), .tokens = Tokens(cut, 30), .outputs = 30};
      const auto result = runner_.transformer().Forward({&item, 1}, [&](int64_t layer) {
        EXPECT_EQ(layer, asked++);
        return layer == stop_at ? absl::DataLossError("stop") : absl::OkStatus();
      });
      EXPECT_EQ(result.status(), absl::DataLossError("stop"));
      EXPECT_EQ(asked, stop_at + 1);
      EXPECT_EQ(live->tokens(), cut);
      EXPECT_TRUE(Bytes(runner_.backend(), *live) == before);
    }
    const auto after = runner_.Branch(*live);
    EXPECT_TRUE(Identical(runner_.Read(*after, Tokens(cut, 30), 30, 30), expected));
    const LogitRows live_on = runner_.Read(*live, Tokens(cut, 30), 30, 30);
    if (BranchesGoOnAsTheirParents()) EXPECT_TRUE(Identical(live_on, expected));
  }
}

// The canonical bytes do not depend on the backend, rounding apart. (Of states that round to fewer
// bits too, tests/unit/kernels/state_test.cc: here each layer's inputs differ by what those of the
// layers before are rounded.)
class GoldenBytes : public GoldenState {};

TEST_P(GoldenBytes, SameBytesAsTheReference) {
  ASSERT_TRUE(runner_.ok());
  Runner reference(BackendKind::kReference, golden_);
  ASSERT_TRUE(reference.ok());
  for (const PolicyCase& policy : golden_.policies) {
    SCOPED_TRACE(policy.policy.ToString());
    const int64_t count = std::min<int64_t>(length(), 80);
    const auto ours = runner_.NewState(policy.policy);
    const auto theirs = reference.NewState(policy.policy);
    runner_.Read(*ours, Tokens(0, count), 13, 0);
    reference.Read(*theirs, Tokens(0, count), count, 0);
    const std::string a = Bytes(runner_.backend(), *ours);
    const std::string b = Bytes(reference.backend(), *theirs);
    ASSERT_EQ(a.size(), b.size());
    std::vector<float> x(a.size() / sizeof(float));
    std::vector<float> y(x.size());
    std::memcpy(x.data(), a.data(), a.size());
    std::memcpy(y.data(), b.data(), b.size());
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(x[i], y[i], 2e-4f * (1 + std::abs(y[i]))) << "value " << i;
    }
  }
}

constexpr kernels::DType kTypes[] = {kernels::DType::kF32, kernels::DType::kBF16,
                                     kernels::DType::kI8};
std::string Name(const testing::TestParamInfo<GoldenState::ParamType>& info) {
  const auto& [kind, name, type] = info.param;
  return absl::StrCat(NameOf(kind), "_", name, "_", kernels::NameOf(type));
}

const auto kSmall = testing::Values("mha", "gqa", "llama3_rope", "far");
const auto kBackends = testing::ValuesIn(BackendsHere());
const auto kFast = testing::Values(FastBackendHere());
const auto kF32 = testing::Values(kernels::DType::kF32);

INSTANTIATE_TEST_SUITE_P(Small, GoldenState,
                         testing::Combine(kBackends, kSmall, testing::ValuesIn(kTypes)), Name);
INSTANTIATE_TEST_SUITE_P(Long, GoldenState,
                         testing::Combine(kFast, testing::Values("paper"),
                                          testing::ValuesIn(kTypes)),
                         Name);
INSTANTIATE_TEST_SUITE_P(Small, GoldenBytes, testing::Combine(kBackends, kSmall, kF32), Name);
INSTANTIATE_TEST_SUITE_P(Long, GoldenBytes, testing::Combine(kFast, testing::Values("paper"), kF32),
                         Name);

}  // namespace
}  // namespace longleaf::model
