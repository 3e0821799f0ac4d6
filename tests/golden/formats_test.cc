// The golden cases with quantised weights. Two questions: how far quantising moves the logits from
// the golden ones, and whether backends, chunks and batches agree on the quantised model.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "tests/golden/golden_case.h"

namespace longleaf::model {
namespace {

using kernels::WeightFormat;

// To the logits of the unquantised model, root mean square over root mean square: measured on these
// small random models (bf16 0.0077 to 0.0090, fp8 0.108 to 0.138, int8 0.028 to 0.033, int4 0.25 to
// 0.32) and half as much again. Trained models are kinder: tests/bench/RESULTS.md has their
// perplexity.
double GoldenTolerance(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBF16:
      return 0.0135;
    case WeightFormat::kFP8:
      return 0.2;
    case WeightFormat::kI8:
      return 0.05;
    default:
      return 0.48;
  }
}
// Between backends, chunk sizes and batches only the rounding of f32 sums differs. Mostly that is
// 1e-7 of the largest logit; where it turns an activation to the next number, up to 0.021 was seen.
constexpr double kSameness = 0.04;

class GoldenFormats : public testing::TestWithParam<std::tuple<WeightFormat, std::string>> {
 protected:
  const WeightFormat format_ = std::get<0>(GetParam());
  const GoldenCase golden_ = LoadCase(std::get<1>(GetParam()));
};

TEST_P(GoldenFormats, LogitsStayNearTheGoldenOnes) {
  Runner runner(BackendKind::kCpu, golden_, {.weights = format_});
  ASSERT_TRUE(runner.ok());
  for (const PolicyCase& policy : golden_.policies) {
    SCOPED_TRACE(policy.policy.ToString());
    const auto state = runner.NewState(policy.policy);
    const LogitRows logits = runner.Read(*state, golden_.tokens, 256, policy.expected.rows());
    const double error = RelativeError(logits, policy.expected);
    fprintf(stderr, "rms %g\n", error);
    EXPECT_LT(error, GoldenTolerance(format_));
    EXPECT_GT(error, GoldenTolerance(format_) / 10);  // quantised it is
  }
}

TEST_P(GoldenFormats, ChunksAndBackendsAgree) {
  Runner cpu(BackendKind::kCpu, golden_, {.weights = format_});
  Runner reference(BackendKind::kReference, golden_, {.weights = format_});
  ASSERT_TRUE(cpu.ok() && reference.ok());
  // The reference is slow: the beginning of a long sequence is enough for it.
  const auto tokens =
      absl::MakeConstSpan(golden_.tokens).subspan(0, std::min<size_t>(150, golden_.tokens.size()));
  for (const PolicyCase& policy : golden_.policies) {
    const auto state = reference.NewState(policy.policy);
    const LogitRows expected = reference.Read(*state, tokens, 64, 8);
    for (const int64_t chunk : {1, 7, 33, 150}) {
      SCOPED_TRACE(absl::StrCat(policy.policy.ToString(), " in chunks of ", chunk));
      const auto other = cpu.NewState(policy.policy);
      EXPECT_TRUE(Agree(cpu.Read(*other, tokens, chunk, 8), expected, kSameness));
    }
  }
}

// A branch in a batch of others gets the logits it gets alone.
TEST_P(GoldenFormats, BatchesAgree) {
  Runner runner(BackendKind::kCpu, golden_, {.weights = format_});
  ASSERT_TRUE(runner.ok());
  const auto tokens = absl::MakeConstSpan(golden_.tokens);
  const PolicyCase& policy = golden_.policies.back();
  const auto document = runner.NewState(policy.policy);
  const size_t half = tokens.size() / 2;
  runner.Read(*document, tokens.subspan(0, half), 80, 1);
  std::vector<std::unique_ptr<kernels::State>> branches;
  std::vector<ForwardItem> items;
  std::vector<LogitRows> alone;
  for (size_t i = 0; i < 16; ++i) {
    const auto question = tokens.subspan(half, 1 + i % 5);
    const auto single = runner.Branch(*document);
    alone.push_back(runner.Step({{.state = single.get(), .tokens = question, .outputs = 1}}));
    branches.push_back(runner.Branch(*document));
    items.push_back({.state = branches.back().get(), .tokens = question, .outputs = 1});
  }
  const LogitRows together = runner.Step(items);
  ASSERT_EQ(together.rows(), 16);
  for (int64_t i = 0; i < 16; ++i) {
    LogitRows row;
    row.vocab = together.vocab;
    const auto values = together.Last(16 - i);
    row.values.assign(values.begin(), values.end());
    EXPECT_TRUE(Agree(row, alone[static_cast<size_t>(i)], kSameness)) << "branch " << i;
  }
}

// What a GPU has to agree with.
class GoldenFP8 : public testing::TestWithParam<std::string> {};

TEST_P(GoldenFP8, LogitsOfTheReferenceStayNearTheGoldenOnes) {
  const GoldenCase golden = LoadCase(GetParam());
  Runner runner(BackendKind::kReference, golden, {.weights = WeightFormat::kFP8});
  ASSERT_TRUE(runner.ok());
  const PolicyCase& policy = golden.policies.back();
  const auto state = runner.NewState(policy.policy);
  const double error = RelativeError(
      runner.Read(*state, golden.tokens, 256, policy.expected.rows()), policy.expected);
  EXPECT_LT(error, GoldenTolerance(WeightFormat::kFP8));
  EXPECT_GT(error, GoldenTolerance(WeightFormat::kFP8) / 10);
}

// Without the longest, for which the reference takes seconds.
INSTANTIATE_TEST_SUITE_P(All, GoldenFP8,
                         testing::Values("mha", "gqa", "linear_rope_tied", "llama3_rope", "far"),
                         [](const auto& info) { return info.param; });

INSTANTIATE_TEST_SUITE_P(All, GoldenFormats,
                         testing::Combine(testing::Values(WeightFormat::kBF16, WeightFormat::kI8,
                                                          WeightFormat::kI4),
                                          testing::ValuesIn(CaseNames())),
                         [](const auto& info) {
                           return absl::StrCat(NameOf(std::get<0>(info.param)), "_",
                                               std::get<1>(info.param));
                         });

}  // namespace
}  // namespace longleaf::model
