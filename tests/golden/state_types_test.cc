// The golden cases with states in bf16 and int8. Two questions: how far the rounding of states
// moves the logits from the golden ones, and whether backends and chunks agree.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "tests/golden/golden_case.h"

namespace longleaf::model {
namespace {

using kernels::DType;

// To the logits of f32 states, root mean square over root mean square: measured on these small
// random models, and half as much again.
constexpr double kBF16StateTolerance = 0.009;  // 0.0036 to 0.0057
constexpr double kI8StateTolerance = 0.020;    // 0.0083 to 0.0133
double GoldenTolerance(DType type) {
  return type == DType::kBF16 ? kBF16StateTolerance : kI8StateTolerance;
}

class GoldenStateTypes : public testing::TestWithParam<std::tuple<DType, std::string>> {
 protected:
  const DType type_ = std::get<0>(GetParam());
  const GoldenCase golden_ = LoadCase(std::get<1>(GetParam()));
};

TEST_P(GoldenStateTypes, LogitsStayNearTheGoldenOnesInAnyChunks) {
  Runner runner(FastBackendHere(), golden_, {.state_dtype = type_});
  ASSERT_TRUE(runner.ok());
  for (const PolicyCase& policy : golden_.policies) {
    for (const int64_t chunk : {int64_t{1}, int64_t{13}, int64_t{256}}) {
      if (chunk == 1 && golden_.tokens.size() > 200) continue;
      SCOPED_TRACE(absl::StrCat(policy.policy.ToString(), " in chunks of ", chunk));
      const auto state = runner.NewState(policy.policy);
      const LogitRows logits = runner.Read(*state, golden_.tokens, chunk, policy.expected.rows());
      const double error = RelativeError(logits, policy.expected);
      EXPECT_LT(error, GoldenTolerance(type_));
      EXPECT_GT(error, GoldenTolerance(type_) / 4);  // rounded they are
    }
  }
}

// The reference rounds nothing but the state: what it is off by is the state's part.
TEST_P(GoldenStateTypes, TheReferenceIsAsNear) {
  Runner reference(BackendKind::kReference, golden_, {.state_dtype = type_});
  ASSERT_TRUE(reference.ok());
  for (const PolicyCase& policy : golden_.policies) {
    if (golden_.tokens.size() > 200) continue;  // the reference takes too long
    SCOPED_TRACE(policy.policy.ToString());
    const auto state = reference.NewState(policy.policy);
    const LogitRows logits = reference.Read(*state, golden_.tokens, 256, policy.expected.rows());
    const double error = RelativeError(logits, policy.expected);
    EXPECT_LT(error, GoldenTolerance(type_));
    EXPECT_GT(error, GoldenTolerance(type_) / 4);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GoldenStateTypes,
                         testing::Combine(testing::Values(DType::kBF16, DType::kI8),
                                          testing::ValuesIn(CaseNames())),
                         [](const auto& info) {
                           return absl::StrCat(NameOf(std::get<0>(info.param)), "_",
                                               std::get<1>(info.param));
                         });

}  // namespace
}  // namespace longleaf::model
