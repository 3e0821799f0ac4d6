// The mma.sync kernel, alone, against the definition in double precision; and that a row gets the
// same bits whatever tile it is in.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/attention_kernels.h"
#include "tests/gpu/attention_case.h"

namespace longleaf::kernels::cuda {
namespace {

// Queries that are numbers of bf16, so that what is left of rounding is that of the weights.
Sequence Rounded(Sequence s) {
  std::transform(s.query.begin(), s.query.end(), s.query.begin(), NearestBF16);
  return s;
}

Sequence MakeSequence(const AttentionPolicy& policy, int64_t heads, int64_t kv_heads, int64_t d,
                      int64_t tokens, DType type) {
  return Rounded(Sequence(policy, heads, kv_heads, d, tokens, static_cast<uint32_t>(tokens), type));
}

void Start(AttentionCase& one, const Cut& cut) {
  const AttentionArguments arguments = one.Arguments(cut);
  ASSERT_TRUE(MmaTakes(one.shape()));
  ASSERT_TRUE(PrepareAttentionMma(one.shape()).ok());
  ASSERT_TRUE(LaunchAttentionMma(one.launch(), arguments, one.stream()).ok());
}

void Check(const Sequence& s, int64_t first, const Cut& cut) {
  const int64_t rows = s.length - first;
  SCOPED_TRACE(std::string(NameOf(s.dims.dtype)) + " " + s.policy.ToString() +
               " d=" + std::to_string(s.dims.head_dim) + " first=" + std::to_string(first) +
               " rows=" + std::to_string(rows) + " of " + std::to_string(cut.rows) +
               " pack=" + std::to_string(cut.pack) + " parts=" + std::to_string(cut.parts));
  AttentionCase one(s, first, rows);
  Start(one, cut);
  one.ExpectRight(0x1p-8);
}

const std::vector<AttentionPolicy>& Policies() {
  static const auto& policies =
      *new std::vector<AttentionPolicy>{AttentionPolicy::Full(),
                                        AttentionPolicy::Cca(4, 8, CoreHeads::kQuery),
                                        AttentionPolicy::Cca(1, 1, CoreHeads::kKeyValue),
                                        AttentionPolicy::Cca(7, 70, CoreHeads::kKeyValue),
                                        AttentionPolicy::Streaming(4, 60),
                                        AttentionPolicy::Streaming(0, 1),
                                        AttentionPolicy::Streaming(100, 128)};
  return policies;
}
constexpr DType kTypes[] = {DType::kBF16, DType::kI8};

TEST(AttentionMmaTest, PoliciesTypesAndTiles) {
  size_t n = 0;
  for (const AttentionPolicy& policy : Policies()) {
    for (const auto& [first, rows, tile] : {std::array<int64_t, 3>{0, 1, 16},
                                            {129, 9, 16},
                                            {191, 41, 32},
                                            {61, 65, 64},
                                            {250, 129, 128}}) {
      Check(MakeSequence(policy, 2, 1, 64, first + rows, kTypes[n++ % 2]), first,
            {.rows = static_cast<int32_t>(tile)});
    }
  }
}

TEST(AttentionMmaTest, HeadSizes) {
  for (const DType type : kTypes) {
    for (const int64_t d : {64, 96, 128}) {
      const auto s =
          MakeSequence(AttentionPolicy::Cca(4, 64, CoreHeads::kKeyValue), 6, 2, d, 430, type);
      Check(s, 343, {.rows = 128});
      Check(s, 423, {.rows = 5, .pack = 3});
    }
  }
}

// As decode does: rows by parts of what they see, heads packed; more pages than the ring has room
// for.
TEST(AttentionMmaTest, PartsAndPacks) {
  size_t n = 0;
  for (const AttentionPolicy& policy : Policies()) {
    const auto s = MakeSequence(policy, 8, 2, 64, 1000, kTypes[n++ % 2]);
    const int32_t pack = s.dims.core_heads == 8 ? 1 : 4;
    Check(s, 999, {.rows = 1, .pack = pack});
    Check(s, 999, {.rows = 1, .pack = pack, .parts = 3});
    Check(s, 990, {.rows = 9, .pack = pack, .parts = 2});
  }
}

TEST(AttentionMmaTest, ARowsBitsDoNotDependOnItsTile) {
  for (const DType type : kTypes) {
    const auto s =
        MakeSequence(AttentionPolicy::Cca(3, 96, CoreHeads::kQuery), 2, 2, 64, 400, type);
    std::vector<float> first;
    for (const int32_t rows : {1, 16, 20, 50, 80}) {
      AttentionCase one(s, 320, 80);
      Start(one, {.rows = rows});
      const std::vector<float> result = one.Result();
      if (first.empty()) first = result;
      EXPECT_EQ(result, first) << rows << " rows a unit";
    }
  }
}

}  // namespace
}  // namespace longleaf::kernels::cuda
