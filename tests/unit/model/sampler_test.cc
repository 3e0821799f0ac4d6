#include "model/sampler.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace longleaf::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(SamplingParams, DefaultsAreValidAndGreedy) {
  const SamplingParams params;
  EXPECT_TRUE(params.Validate().ok());
  EXPECT_EQ(params.temperature, 0);
}

TEST(SamplingParams, FieldsOutOfRangeAreNamed) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  const struct {
    std::string field;
    std::function<void(SamplingParams&)> damage;
  } cases[] = {
      {"max_tokens", [](auto& p) { p.max_tokens = 0; }},
      {"temperature", [](auto& p) { p.temperature = -0.1f; }},
      {"temperature", [](auto& p) { p.temperature = 101; }},
      {"temperature", [](auto& p) { p.temperature = kNan; }},
      {"top_k", [](auto& p) { p.top_k = -1; }},
      {"top_p", [](auto& p) { p.top_p = 0; }},
      {"top_p", [](auto& p) { p.top_p = 1.5f; }},
      {"top_p", [](auto& p) { p.top_p = kNan; }},
      {"min_p", [](auto& p) { p.min_p = 1; }},
      {"min_p", [](auto& p) { p.min_p = -0.5f; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = 0; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = kNan; }},
      {"logprobs", [](auto& p) { p.logprobs = -1; }},
      {"logprobs", [](auto& p) { p.logprobs = 21; }},
  };
  for (const auto& [field, damage] : cases) {
    SamplingParams params;
    damage(params);
    const auto violation = params.FindViolation();
    ASSERT_TRUE(violation.has_value()) << field;
    EXPECT_EQ(violation->field, field);
    EXPECT_EQ(params.Validate().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(params.Validate().message(), HasSubstr(field));
  }
  SamplingParams edge = {.max_tokens = 1, .temperature = 100, .top_p = 1, .min_p = 0.999f};
  edge.logprobs = 20;
  EXPECT_TRUE(edge.Validate().ok());
}

// The stream is part of what a seed promises: these numbers must never change.
TEST(UniformOf, KnownNumbers) {
  EXPECT_EQ(UniformOf(0, 0), 0x1.c4415072f63b9p-1);
  EXPECT_EQ(UniformOf(0, 1), 0x1.b9e279aa86e58p-2);
  EXPECT_EQ(UniformOf(42, 0), 0x1.31367e26140c7p-1);
}

TEST(UniformOf, IsUniform) {
  constexpr int kCount = 100000;
  std::vector<int> bins(10);
  double sum = 0;
  for (int i = 0; i < kCount; ++i) {
    const double u = UniformOf(12345, i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    ++bins[static_cast<size_t>(u * 10)];
  }
  EXPECT_NEAR(sum / kCount, 0.5, 0.005);
  for (const int count : bins) EXPECT_NEAR(count, kCount / 10, 400);
  // Neighbouring seeds are unrelated.
  double correlation = 0;
  for (int i = 0; i < 1000; ++i) {
    correlation += (UniformOf(static_cast<uint64_t>(i), 0) - 0.5) *
                   (UniformOf(static_cast<uint64_t>(i) + 1, 0) - 0.5);
  }
  EXPECT_LT(std::abs(correlation / 1000), 0.01);
}

TEST(Sampler, GivesTheParametersOn) {
  SamplingParams params = {.temperature = 0.7f, .top_k = 40, .top_p = 0.9f, .min_p = 0.05f};
  params.seed = 9;
  params.logprobs = 3;
  const Sampler sampler(params);
  const kernels::SampleRequest request = sampler.Next();
  EXPECT_EQ(request.temperature, 0.7f);
  EXPECT_EQ(request.top_k, 40);
  EXPECT_EQ(request.top_p, 0.9f);
  EXPECT_EQ(request.min_p, 0.05f);
  EXPECT_EQ(request.repetition_penalty, 1);
  EXPECT_EQ(request.top_logprobs, 3);
  EXPECT_EQ(request.uniform, UniformOf(9, 0));
  EXPECT_EQ(sampler.seed(), 9u);
}

TEST(Sampler, NumbersFollowTheAnswerNotTheCalls) {
  SamplingParams params;
  params.seed = 77;
  Sampler sampler(params);
  EXPECT_EQ(sampler.Next().uniform, sampler.Next().uniform);
  sampler.Accept(5);
  EXPECT_EQ(sampler.Next().uniform, UniformOf(77, 1));
  EXPECT_EQ(sampler.accepted(), 1);
}

TEST(Sampler, PenalisesTheAnswerSoFar) {
  SamplingParams params;
  Sampler plain(params);
  plain.Accept(3);
  EXPECT_THAT(plain.Next().penalised, IsEmpty());
  params.repetition_penalty = 1.2f;
  Sampler sampler(params);
  EXPECT_THAT(sampler.Next().penalised, IsEmpty());
  sampler.Accept(3);
  sampler.Accept(8);
  EXPECT_THAT(sampler.Next().penalised, ElementsAre(3, 8));
  EXPECT_EQ(sampler.Next().repetition_penalty, 1.2f);
}

TEST(Sampler, DrawsASeedWhereNoneIsGiven) {
  EXPECT_NE(Sampler(SamplingParams{}).seed(), Sampler(SamplingParams{}).seed());
}

}  // namespace
}  // namespace longleaf::model
