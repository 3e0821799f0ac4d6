#include "model/core_state.h"

#include <cstdint>
#include <limits>

#include "gtest/gtest.h"

namespace longleaf::model {
namespace {

using kernels::AttentionPolicy;
using kernels::CoreHeads;
using kernels::StateShape;

constexpr int64_t k128K = 128 * 1024;

// The figures of the plan: at 128K, g=16, w=1024, 7% of the full cache for multi-head or `kv`
// cores, 26% for Llama-3.1-8B with `query` cores.
TEST(CoreState, SizesAt128K) {
  const auto share = [](int64_t kv_heads, CoreHeads heads) {
    const StateShape shape = {32, 32, kv_heads, 128, AttentionPolicy::Cca(16, 1024, heads)};
    return static_cast<double>(StateBytes(shape, k128K)) /
           static_cast<double>(FullCacheBytes(shape, k128K));
  };
  EXPECT_NEAR(share(32, CoreHeads::kQuery), 0.07, 0.001);
  EXPECT_NEAR(share(8, CoreHeads::kKeyValue), 0.07, 0.001);
  EXPECT_NEAR(share(8, CoreHeads::kQuery), 0.26, 0.003);
}

TEST(CoreState, ExactBytes) {
  const StateShape shape = {2, 4, 2, 8, AttentionPolicy::Cca(4, 8, CoreHeads::kQuery)};
  // 21 tokens: 5 cores; J = floor(13 / 4) = 3, so the tail is tokens 12..20.
  EXPECT_EQ(TailBegin(shape.policy, 21), 12);
  EXPECT_EQ(StateBytes(shape, 21), 2 * 2 * (5 * 4 + 9 * 2) * 8 * 4);
  StateShape narrower = shape;
  narrower.dtype = kernels::DType::kBF16;
  EXPECT_EQ(StateBytes(narrower, 21), 2 * 2 * (5 * 4 + 9 * 2) * 8 * 2);
  narrower.dtype = kernels::DType::kI8;  // and a scale for each row
  EXPECT_EQ(StateBytes(narrower, 21), 2 * 2 * (5 * 4 + 9 * 2) * (8 + 4));
  EXPECT_EQ(FullCacheBytes(narrower, 21), 2 * 2 * 21 * 2 * (8 + 4));
  EXPECT_EQ(FullCacheBytes(shape, 21), 2 * 2 * 21 * 2 * 8 * 4);
  EXPECT_EQ(StateBytes(shape, 0), 0);
}

TEST(CoreState, TailHoldsWindowToWindowPlusGroup) {
  const AttentionPolicy policy = AttentionPolicy::Cca(4, 12, CoreHeads::kQuery);
  for (int64_t tokens = 0; tokens < 100; ++tokens) {
    const int64_t tail = tokens - TailBegin(policy, tokens);
    if (tokens >= 12) {
      EXPECT_GE(tail, 12);
      EXPECT_LE(tail, 15);
    } else {
      EXPECT_EQ(tail, tokens);
    }
  }
}

TEST(CoreState, OtherPolicies) {
  const StateShape full = {1, 2, 2, 4, AttentionPolicy::Full()};
  EXPECT_EQ(StateBytes(full, 100), FullCacheBytes(full, 100));
  const StateShape streaming = {1, 2, 2, 4, AttentionPolicy::Streaming(4, 16)};
  EXPECT_EQ(StateBytes(streaming, 100), 2 * (4 + 16) * 2 * 4 * 4);
}

TEST(CoreState, OverflowIsNoticed) {
  const StateShape shape = {1000, 1000, 1000, 1000, AttentionPolicy::Full()};
  constexpr int64_t kHuge = int64_t{1} << 50;
  EXPECT_EQ(StateBytes(shape, kHuge), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(FullCacheBytes(shape, kHuge), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(CheckedStateBytes(shape, kHuge).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckedStateBytes(shape, -1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckedStateBytes(shape, 1).value(), 8000000000);
}

}  // namespace
}  // namespace longleaf::model
