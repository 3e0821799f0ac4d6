// Sampling on every backend: known answers, frequencies, and the fast form against the definition.
#include "kernels/sampling.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SamplingTest : public BackendTest {
 protected:
  absl::StatusOr<SampleResult> Sample(std::vector<float> logits, const SampleRequest& request) {
    const Tensor row{logits.data(), 1, static_cast<int64_t>(logits.size())};
    auto results = backend_->Sample(row, {request});
    if (!results.ok()) return results.status();
    return (*results)[0];
  }
  // The tokens that can come out at all.
  std::vector<int32_t> Support(const std::vector<float>& logits, SampleRequest request) {
    std::vector<bool> seen(logits.size());
    for (int i = 0; i < 1000; ++i) {
      request.uniform = i / 1000.0;
      seen[static_cast<size_t>(Sample(logits, request).value().token)] = true;
    }
    std::vector<int32_t> support;
    for (size_t id = 0; id < seen.size(); ++id) {
      if (seen[id]) support.push_back(static_cast<int32_t>(id));
    }
    return support;
  }
};
LONGLEAF_ON_ALL_BACKENDS(SamplingTest);

using Ids = std::vector<int32_t>;

TEST_P(SamplingTest, TemperatureZeroTakesTheLargestAndTheLowestOfEqualOnes) {
  const SampleResult result = Sample({1, 3, 2, 3, -kInfinity}, {}).value();
  EXPECT_EQ(result.token, 1);
  const double sum = std::exp(-2.0) + 2 + std::exp(-1.0);
  EXPECT_NEAR(result.logprob, -std::log(sum), 1e-6);
}

TEST_P(SamplingTest, CutsKeepWhatTheySay) {
  // Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625.
  const std::vector<float> logits = {std::log(0.125f), std::log(0.5f), std::log(0.0625f),
                                     std::log(0.25f), std::log(0.0625f)};
  SampleRequest request;
  request.temperature = 1;
  EXPECT_EQ(Support(logits, request), (Ids{0, 1, 2, 3, 4}));
  request.top_k = 2;
  EXPECT_EQ(Support(logits, request), (Ids{1, 3}));
  request.top_k = 4;  // of two equal ones the lower id
  EXPECT_EQ(Support(logits, request), (Ids{0, 1, 2, 3}));
  request.top_k = 100;
  EXPECT_EQ(Support(logits, request), (Ids{0, 1, 2, 3, 4}));
  request.top_k = 0;
  request.top_p = 0.49f;
  EXPECT_EQ(Support(logits, request), (Ids{1}));
  request.top_p = 0.7f;
  EXPECT_EQ(Support(logits, request), (Ids{1, 3}));
  request.top_p = 1;
  request.min_p = 0.2f;  // of the largest: 0.1
  EXPECT_EQ(Support(logits, request), (Ids{0, 1, 3}));
  request.top_p = 0.6f;  // of 0.875: 0.525
  EXPECT_EQ(Support(logits, request), (Ids{1, 3}));
  request.top_k = 1;
  EXPECT_EQ(Support(logits, request), (Ids{1}));
}

TEST_P(SamplingTest, FrequenciesFollowTheTemperature) {
  const std::vector<float> logits = {0, std::log(4.0f)};
  for (const auto& [temperature, first] :
       {std::pair{1.0f, 0.2}, {0.5f, 1.0 / 17}, {2.0f, 1.0 / 3}}) {
    SampleRequest request;
    request.temperature = temperature;
    int zeros = 0;
    for (int i = 0; i < 2000; ++i) {
      request.uniform = (i + 0.5) / 2000;
      zeros += Sample(logits, request).value().token == 0 ? 1 : 0;
    }
    EXPECT_NEAR(zeros / 2000.0, first, 1e-3);
  }
}

TEST_P(SamplingTest, PenaltyWorksOnBothSignsAndOncePerToken) {
  SampleRequest request;
  request.repetition_penalty = 2;
  const std::vector<int32_t> penalised = {0, 0, 0, 2};
  request.penalised = penalised;
  EXPECT_EQ(Sample({3, 1.6f, -1, -1.5f}, request).value().token, 1);
  EXPECT_EQ(Sample({3, 1.4f, -1, -1.5f}, request).value().token, 0) << "penalised once only";
  EXPECT_EQ(Sample({-4, -9, -1, -1.5f}, request).value().token, 3);
  // Log-probabilities are the model's own.
  const float gap = Sample({3, 1.6f},
                           [] {
                             SampleRequest r;
                             static const std::vector<int32_t> zero = {0};
                             r.repetition_penalty = 2;
                             r.penalised = zero;
                             return r;
                           }())
                        .value()
                        .logprob;
  EXPECT_NEAR(gap, 1.6 - std::log(std::exp(3.0) + std::exp(1.6)), 1e-5);
  request.repetition_penalty = 1e-38f;  // overflows, and must not
  EXPECT_EQ(Sample({3, 1, 2, 1}, request).value().token, 0);
}

TEST_P(SamplingTest, AlternativesComeBestFirst) {
  SampleRequest request;
  request.top_logprobs = 3;
  const SampleResult result = Sample({1, 5, 3, 5, 2}, request).value();
  ASSERT_EQ(result.top.size(), 3u);
  EXPECT_EQ(result.top[0].token, 1);
  EXPECT_EQ(result.top[1].token, 3);
  EXPECT_EQ(result.top[2].token, 2);
  EXPECT_EQ(result.top[0].logprob, result.logprob);
  EXPECT_NEAR(result.top[2].logprob, result.logprob - 2, 1e-6);
  request.top_logprobs = 20;
  EXPECT_EQ(Sample({1, 5, 3}, request).value().top.size(), 3u);
}

TEST_P(SamplingTest, RefusesBadRowsAndRequests) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> row(100, 0.0f);
  for (size_t at : {0u, 50u, 99u}) {
    for (float bad : {nan, kInfinity}) {
      std::vector<float> broken = row;
      broken[at] = bad;
      EXPECT_EQ(Sample(broken, {}).status().code(), absl::StatusCode::kInternal);
    }
  }
  EXPECT_EQ(Sample({-kInfinity, -kInfinity}, {}).status().code(), absl::StatusCode::kInternal);
  const auto code = [&](auto change) {
    SampleRequest request;
    change(request);
    return Sample(row, request).status().code();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code([](SampleRequest& r) { r.temperature = -1; }), kInvalid);
  EXPECT_EQ(code([&](SampleRequest& r) { r.temperature = nan; }), kInvalid);
  EXPECT_EQ(code([](SampleRequest& r) { r.top_k = -1; }), kInvalid);
  EXPECT_EQ(code([](SampleRequest& r) { r.top_p = 0; }), kInvalid);
  EXPECT_EQ(code([](SampleRequest& r) { r.top_p = 1.5f; }), kInvalid);
  EXPECT_EQ(code([](SampleRequest& r) { r.min_p = 1; }), kInvalid);
  EXPECT_EQ(code([](SampleRequest& r) { r.repetition_penalty = 0; }), kInvalid);
  EXPECT_EQ(code([](SampleRequest& r) { r.uniform = 1; }), kInvalid);
  EXPECT_EQ(code([](SampleRequest& r) { r.top_logprobs = 21; }), kInvalid);
  const std::vector<int32_t> outside = {100};
  EXPECT_EQ(code([&](SampleRequest& r) { r.penalised = outside; }), kInvalid);
}

// Random rows and parameters: the same token as the definition. `uniform` stays off the boundaries
// between tokens by construction of the comparison: a disagreement is allowed only where moving it
// by 1e-5 changes the definition's own answer.
TEST_P(SamplingTest, AgreesWithTheDefinition) {
  std::mt19937 random(9);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int round = 0; round < 300; ++round) {
    const int64_t size = round % 3 == 0 ? 20000 : 1 + static_cast<int64_t>(random() % 300);
    std::vector<float> logits =
        RandomFloats(size, static_cast<uint32_t>(round), round % 2 == 0 ? 1.0f : 6.0f);
    if (round % 5 == 0) logits[0] = -kInfinity;
    if (round % 7 == 0) {
      for (float& logit : logits) logit = std::round(logit);  // many equal ones
    }
    if (size == 1) logits[0] = 0;
    SampleRequest request;
    request.temperature = round % 4 == 0 ? 0.0f : static_cast<float>(0.3 + 1.5 * uniform(random));
    if (random() % 2 == 0) request.top_k = 1 + static_cast<int64_t>(random() % 100);
    if (random() % 2 == 0) request.top_p = static_cast<float>(0.05 + 0.9 * uniform(random));
    if (random() % 2 == 0) request.min_p = static_cast<float>(0.3 * uniform(random));
    request.top_logprobs = static_cast<int64_t>(random() % 6);
    request.uniform = uniform(random) * 0.999;
    std::vector<int32_t> penalised;
    if (random() % 2 == 0) {
      request.repetition_penalty = static_cast<float>(0.8 + uniform(random));
      for (int i = 0; i < 10; ++i) {
        penalised.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(size)));
      }
      request.penalised = penalised;
    }
    const SampleResult expected = SampleReference(logits, request).value();
    const SampleResult actual = Sample(logits, request).value();
    if (actual.token != expected.token) {
      SampleRequest moved = request;
      moved.uniform = std::max(0.0, request.uniform - 1e-5);
      const int32_t low = SampleReference(logits, moved).value().token;
      moved.uniform = request.uniform + 1e-5;
      const int32_t high = SampleReference(logits, moved).value().token;
      EXPECT_TRUE(actual.token == low || actual.token == high) << "round " << round;
      continue;
    }
    EXPECT_NEAR(actual.logprob, expected.logprob, 1e-5);
    ASSERT_EQ(actual.top.size(), expected.top.size());
    for (size_t i = 0; i < actual.top.size(); ++i) {
      EXPECT_EQ(actual.top[i].token, expected.top[i].token);
      EXPECT_NEAR(actual.top[i].logprob, expected.top[i].logprob, 1e-5);
    }
  }
}

}  // namespace
}  // namespace longleaf::kernels
