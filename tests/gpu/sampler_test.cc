// Sampling on the device where tests/unit/kernels/sampling_test.cc does not go: whole batches,
// large vocabularies, ties at every cut.
#include "kernels/cuda/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/sampling.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SamplerTest : public testing::Test {
 protected:
  absl::StatusOr<std::vector<SampleResult>> Sample(const std::vector<float>& logits,
                                                   absl::Span<const SampleRequest> requests) {
    auto memory = DeviceMemory::Allocate(std::ssize(logits) * 4).value();
    EXPECT_TRUE(Copy(memory.data(), logits.data(), memory.bytes(), stream_.get()).ok());
    const int64_t rows = std::ssize(requests);
    return sampler_.Sample({memory.as<float>(), rows, std::ssize(logits) / rows}, requests,
                           stream_.get());
  }
  // The same choice as the definition, or one that moving `uniform` by 1e-6 gives.
  static void ExpectAgrees(const SampleResult& actual, absl::Span<const float> logits,
                           const SampleRequest& request) {
    const SampleResult expected = SampleReference(logits, request).value();
    SampleRequest low = request, high = request;
    low.uniform = std::max(0.0, request.uniform - 1e-6);
    high.uniform = request.uniform + 1e-6;
    EXPECT_TRUE(actual.token == expected.token ||
                actual.token == SampleReference(logits, low).value().token ||
                actual.token == SampleReference(logits, high).value().token)
        << actual.token << " instead of " << expected.token;
    if (actual.token == expected.token) EXPECT_NEAR(actual.logprob, expected.logprob, 1e-5);
    ASSERT_EQ(actual.top.size(), expected.top.size());
    for (size_t i = 0; i < actual.top.size(); ++i) {
      EXPECT_EQ(actual.top[i].token, expected.top[i].token) << i;
      EXPECT_NEAR(actual.top[i].logprob, expected.top[i].logprob, 1e-5);
    }
  }

  Stream stream_ = Stream::Create().value();
  CudaSampler sampler_;
};

TEST_F(SamplerTest, BatchesOfDifferentRequests) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int64_t vocab : {1, 2, 31, 33, 255, 257, 1000, 4099, 32000}) {
    for (bool ties : {false, true}) {
      const size_t rows = 7;
      std::vector<float> logits = RandomFloats(static_cast<int64_t>(rows) * vocab, 5, 4);
      for (float& logit : logits) {
        if (ties) logit = std::round(logit / 2);
      }
      logits[static_cast<size_t>(random() % logits.size())] = -0.0f;
      std::vector<std::vector<int32_t>> penalised(rows);
      std::vector<SampleRequest> requests(rows);
      for (size_t r = 0; r < rows; ++r) {
        SampleRequest& request = requests[r];
        request.temperature = r == 0 ? 0.0f : static_cast<float>(0.2 + 2 * uniform(random));
        if (random() % 2 == 0) request.top_k = 1 + static_cast<int64_t>(random() % 300);
        if (random() % 2 == 0) request.top_p = static_cast<float>(0.05 + 0.9 * uniform(random));
        if (random() % 2 == 0) request.min_p = static_cast<float>(0.2 * uniform(random));
        request.uniform = 0.999 * uniform(random);
        request.top_logprobs = static_cast<int64_t>(random() % 21);
        if (random() % 2 == 0) {
          request.repetition_penalty = static_cast<float>(0.5 + 2 * uniform(random));
          for (int i = 0; i < 100; ++i) {
            penalised[r].push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(vocab)));
          }
          request.penalised = penalised[r];
        }
      }
      const auto results = Sample(logits, requests);
      ASSERT_TRUE(results.ok()) << results.status();
      for (size_t r = 0; r < rows; ++r) {
        SCOPED_TRACE(testing::Message() << "vocabulary " << vocab << " row " << r << ties);
        ExpectAgrees((*results)[r],
                     absl::MakeSpan(logits).subspan(r * static_cast<size_t>(vocab),
                                                    static_cast<size_t>(vocab)),
                     requests[r]);
      }
    }
  }
  EXPECT_EQ(emulator::FailedLaunches(), 0);
}

// All tokens alike: every cut falls into one tie, and the lowest ids stay.
TEST_F(SamplerTest, CutsThroughTies) {
  const std::vector<float> logits(5001, -3.0f);
  const auto last = [&](SampleRequest request) {
    request.temperature = 1;
    request.uniform = 1 - 0x1p-53;
    return (*Sample(logits, {&request, 1}))[0].token;
  };
  EXPECT_EQ(last({}), 5000);
  for (int64_t k : {1, 2, 31, 32, 33, 4000, 5000, 5001, 6000}) {
    SampleRequest request;
    request.top_k = k;
    EXPECT_EQ(last(request), std::min<int64_t>(k, 5001) - 1);
    request.top_p = 0.5f;
    EXPECT_EQ(last(request), (std::min<int64_t>(k, 5001) + 1) / 2 - 1);
    request.min_p = 0.99f;
    EXPECT_EQ(last(request), (std::min<int64_t>(k, 5001) + 1) / 2 - 1);
  }
  SampleRequest request;
  request.top_logprobs = 20;
  const SampleResult result = (*Sample(logits, {&request, 1}))[0];
  ASSERT_EQ(result.top.size(), 20u);
  for (int32_t i = 0; i < 20; ++i) EXPECT_EQ(result.top[static_cast<size_t>(i)].token, i);
}

TEST_F(SamplerTest, ALargeVocabulary) {
  const int64_t vocab = 151937;
  std::vector<float> logits = RandomFloats(vocab, 8, 2);
  logits[150000] = 14;
  for (float top_p : {0.3f, 0.9f, 1.0f}) {
    for (double uniform : {0.0, 0.3, 0.7, 0.99}) {
      SampleRequest request;
      request.temperature = 0.9f;
      request.top_p = top_p;
      request.uniform = uniform;
      request.top_logprobs = 3;
      ExpectAgrees((*Sample(logits, {&request, 1}))[0], logits, request);
    }
  }
}

// Whatever the threads' order: the same token and the same bits.
TEST_F(SamplerTest, IsTheSameEveryTime) {
  const std::vector<float> logits = RandomFloats(20000, 8, 3);
  SampleRequest request;
  request.temperature = 1.3f;
  request.top_p = 0.8f;
  request.top_k = 5000;
  request.uniform = 0.77;
  request.top_logprobs = 5;
  const SampleResult first = (*Sample(logits, {&request, 1}))[0];
  const uint32_t seed = emulator::Seed();
  for (uint32_t other = 2; other < 8; ++other) {
    emulator::SetSeed(other);
    const SampleResult again = (*Sample(logits, {&request, 1}))[0];
    EXPECT_EQ(again.token, first.token);
    EXPECT_EQ(again.logprob, first.logprob);
  }
  emulator::SetSeed(seed);
}

// One bad row is the call's error, and the next call is as if nothing had been.
TEST_F(SamplerTest, BadRows) {
  std::vector<float> logits(3 * 40, 1.0f);
  std::vector<SampleRequest> requests(3);
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    -std::numeric_limits<float>::quiet_NaN(), kInfinity}) {
    std::vector<float> broken = logits;
    broken[79] = bad;
    EXPECT_EQ(Sample(broken, requests).status().code(), absl::StatusCode::kInternal);
    EXPECT_TRUE(Sample(logits, requests).ok());
  }
  // Without memory, without damage.
  emulator::SetDeviceMemory(emulator::DeviceMemoryInUse() + 100 * 4);
  const std::vector<int32_t> zero = {0};
  std::vector<float> large(40 * 100, 1.0f);
  std::vector<SampleRequest> many(100);
  many[0].penalised = zero;
  many[0].repetition_penalty = 2;
  auto memory = DeviceMemory::Allocate(0).value();
  EXPECT_EQ(sampler_.Sample({large.data(), 100, 40}, many, stream_.get()).status().code(),
            absl::StatusCode::kResourceExhausted);
  emulator::SetDeviceMemory(int64_t{4} << 30);
  EXPECT_TRUE(Sample(logits, requests).ok());
}

}  // namespace
}  // namespace longleaf::kernels::cuda
