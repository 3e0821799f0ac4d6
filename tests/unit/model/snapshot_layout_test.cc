// Layouts and meta of snapshots: which bytes there are, and what damaged descriptions lead to.
#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/core_state.h"
#include "model/state_codec.h"
#include "tests/unit/model/state_shapes.h"

namespace longleaf::model {
namespace {

using testing::HasSubstr;

TEST(SnapshotLayout, CoversEveryTokenOnce) {
  for (const AttentionPolicy& policy : kPolicies) {
    for (const int64_t tokens : {0, 1, 7, 8, 39, 40, 41, 100, 9000}) {
      const StateShape shape = ShapeOf(policy, kTypes[tokens % 3]);
      const auto layout = SnapshotLayout::For(shape, tokens, 20);
      ASSERT_TRUE(layout.ok()) << layout.status();
      int64_t at = 0;
      for (int64_t segment = 0; segment < layout->segments(); ++segment) {
        EXPECT_EQ(layout->span(segment).begin, at);
        at = layout->span(segment).end;
      }
      EXPECT_EQ(layout->tail_span(), (TokenSpan{at, tokens}));
      EXPECT_EQ(layout->TotalBytes(), StateBytes(shape, tokens));
    }
  }
}

TEST(SnapshotLayout, DefaultSpansAreWholeGroups) {
  EXPECT_EQ(DefaultSpanTokens(AttentionPolicy::Full()), 4096);
  EXPECT_EQ(DefaultSpanTokens(AttentionPolicy::Cca(16, 1024, CoreHeads::kQuery)), 4096);
  EXPECT_EQ(DefaultSpanTokens(AttentionPolicy::Cca(12, 24, CoreHeads::kQuery)), 4092);
  EXPECT_EQ(DefaultSpanTokens(AttentionPolicy::Cca(5000, 5000, CoreHeads::kQuery)), 5000);
}

TEST(SnapshotLayout, SharesWhatCannotChange) {
  const StateShape shape = ShapeOf(kPolicies[1]);
  const auto early = SnapshotLayout::For(shape, 50, 20);
  const auto late = SnapshotLayout::For(shape, 90, 20);
  EXPECT_EQ(late->SharedSegments(*early), 2);
  EXPECT_EQ(early->SharedSegments(*late), 2);
  EXPECT_EQ(late->SharedSegments(*SnapshotLayout::For(shape, 50, 40)), 0);
  EXPECT_EQ(late->SharedSegments(*SnapshotLayout::For(ShapeOf(kPolicies[0]), 50, 20)), 0);
}

TEST(SnapshotLayout, ImpossibleNumbersAreRefused) {
  const StateShape good = ShapeOf(kPolicies[1]);
  EXPECT_FALSE(SnapshotLayout::For(good, -1).ok());
  EXPECT_FALSE(SnapshotLayout::For(good, 100, 6).ok());  // not whole groups
  EXPECT_FALSE(SnapshotLayout::For(good, 100, -4).ok());
  EXPECT_FALSE(SnapshotLayout::For(good, std::numeric_limits<int64_t>::max()).ok());
  for (int64_t StateShape::*field : {&StateShape::layers, &StateShape::query_heads,
                                     &StateShape::kv_heads, &StateShape::head_dim}) {
    for (const int64_t value : {int64_t{0}, int64_t{-2}, int64_t{1} << 40}) {
      StateShape shape = good;
      shape.*field = value;
      EXPECT_FALSE(SnapshotLayout::For(shape, 100).ok());
    }
  }
  StateShape uneven = good;
  uneven.kv_heads = 3;
  EXPECT_FALSE(SnapshotLayout::For(uneven, 100).ok());
  // Each number is possible, their product is not.
  const StateShape vast = {1 << 20, 1 << 20, 1 << 20, 1 << 20, AttentionPolicy::Full()};
  EXPECT_FALSE(SnapshotLayout::For(vast, 100).ok());
}

TEST(SnapshotMeta, RoundTrip) {
  for (const AttentionPolicy& policy : kPolicies) {
    for (const DType dtype : kTypes) {
      const auto layout = SnapshotLayout::For(ShapeOf(policy, dtype), 123, 20);
      ASSERT_TRUE(layout.ok());
      const auto again = SnapshotLayout::FromMeta(layout->Meta(), ShapeOf(policy, dtype));
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_EQ(*again, *layout);
      EXPECT_EQ(again->shape(), layout->shape());
      EXPECT_EQ(again->TotalBytes(), layout->TotalBytes());
      EXPECT_EQ(layout->Meta().size(), 104u);
    }
  }
}

// The bytes are on disks: they must never change within a version.
TEST(SnapshotMeta, KnownBytes) {
  const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[1]), 21, 20);
  std::string expected("LLSTATE\0\x01\0\0\0\x01\x02\x01\0", 16);
  for (const int64_t field : {4, 8, 0, 2, 4, 2, 6, 21, 12, 20, 64}) {
    expected.push_back(static_cast<char>(field));
    expected.append(7, '\0');
  }
  EXPECT_EQ(layout->Meta(), expected);
  for (const auto& [dtype, number] : {std::pair{DType::kBF16, '\2'}, {DType::kI8, '\4'}}) {
    expected[12] = number;
    EXPECT_EQ(SnapshotLayout::For(ShapeOf(kPolicies[1], dtype), 21, 20)->Meta(), expected);
  }
}

TEST(SnapshotMeta, OfAnotherModelIsRefusedWithBoth) {
  const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[1]), 123);
  for (const AttentionPolicy& policy : kPolicies) {
    if (policy == kPolicies[1]) continue;
    const auto status = SnapshotLayout::FromMeta(layout->Meta(), ShapeOf(policy)).status();
    EXPECT_THAT(status.message(), HasSubstr("cca:g=4,w=8"));
    EXPECT_THAT(status.message(), HasSubstr(policy.ToString()));
  }
  StateShape deeper = ShapeOf(kPolicies[1]);
  deeper.layers = 3;
  EXPECT_THAT(SnapshotLayout::FromMeta(layout->Meta(), deeper).status().message(),
              HasSubstr("2 layers"));
}

TEST(SnapshotMeta, OfAnotherTypeIsRefusedWithBoth) {
  for (const DType stored : kTypes) {
    const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[1], stored), 123);
    for (const DType wanted : kTypes) {
      if (wanted == stored) continue;
      const auto status =
          SnapshotLayout::FromMeta(layout->Meta(), ShapeOf(kPolicies[1], wanted)).status();
      EXPECT_THAT(status.message(), HasSubstr(kernels::NameOf(stored)));
      EXPECT_THAT(status.message(), HasSubstr(kernels::NameOf(wanted)));
    }
  }
  const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[1], DType::kF16), 123);
  EXPECT_FALSE(layout.ok());
}

TEST(SnapshotMeta, EveryDamageIsRefusedOrStillMeansALayout) {
  const StateShape shape = ShapeOf(kPolicies[1]);
  const std::string good = SnapshotLayout::For(shape, 123, 20)->Meta();
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(SnapshotLayout::FromMeta(good.substr(0, length), shape).ok()) << length;
  }
  EXPECT_FALSE(SnapshotLayout::FromMeta(good + '\0', shape).ok());
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      const auto layout = SnapshotLayout::FromMeta(bad, shape);
      // Only the counts of tokens and of a span's tokens may be others and still fit each other:
      // whoever reads a snapshot compares the first with its address, and the store's lengths and
      // checksums see both.
      if (layout.ok()) {
        EXPECT_GE(at, 72u);
        EXPECT_LT(at, 96u);
        EXPECT_TRUE(layout->tokens() != 123 || layout->span_tokens() != 20);
        EXPECT_EQ(layout->span_tokens() % 4, 0);
      }
    }
  }
  std::string other = good;
  other[8] = 2;
  EXPECT_THAT(SnapshotLayout::FromMeta(other, shape).status().message(),
              HasSubstr("version 2; this program reads 1"));
}

}  // namespace
}  // namespace longleaf::model
