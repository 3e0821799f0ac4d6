// The f32 kernel and attention mass, each alone, against the definition in double precision.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_mass.h"
#include "tests/gpu/attention_case.h"

namespace longleaf::kernels::cuda {
namespace {

// ---- f32 ---------------------------------------------------------------------------------------

void CheckF32(const Sequence& s, int64_t first, int64_t rows, const Cut& cut) {
  SCOPED_TRACE(NameOfCase(s, first, rows) + " pack=" + std::to_string(cut.pack) +
               " parts=" + std::to_string(cut.parts));
  AttentionCase one(s, first, rows);
  ASSERT_TRUE(PrepareAttentionF32(one.shape()).ok());
  const AttentionArguments arguments = one.Arguments(cut);
  ASSERT_TRUE(LaunchAttentionF32(one.launch(), arguments, one.stream()).ok());
  one.ExpectRight(0);
}

TEST(AttentionF32Test, PoliciesAndTypes) {
  size_t n = 0;
  for (const AttentionPolicy& policy : OddPolicies()) {
    for (const auto& [first, rows] :
         {std::pair<int64_t, int64_t>{0, 1}, {0, 67}, {129, 3}, {191, 130}, {300, 1}}) {
      const Sequence s(policy, 4, 2, 32, first + rows, static_cast<uint32_t>(n),
                       kStateTypes[n % std::size(kStateTypes)]);
      ++n;
      CheckF32(s, first, rows, {.rows = 128});
    }
  }
}

TEST(AttentionF32Test, HeadSizes) {
  size_t n = 0;
  for (const int64_t d : {2, 8, 22, 64, 80, 96, 100, 128, 254, 256}) {
    const Sequence s(AttentionPolicy::Cca(4, 16, CoreHeads::kKeyValue), 6, 3, d, 320, 5,
                     kStateTypes[n++ % std::size(kStateTypes)]);
    CheckF32(s, 300, 1, {.rows = 1, .pack = 2});
    if (d <= 128) CheckF32(s, 283, 37, {.rows = 128});
  }
}

// As decode does: rows by parts of what they see, heads packed.
TEST(AttentionF32Test, Parts) {
  for (const AttentionPolicy& policy : OddPolicies()) {
    const Sequence s(policy, 8, 2, 16, 700, 9, DType::kBF16);
    const int32_t pack = s.dims.core_heads == 8 ? 1 : 4;
    CheckF32(s, 699, 1, {.rows = 1, .pack = pack, .parts = 3});
    CheckF32(s, 690, 7, {.rows = 3, .pack = pack, .parts = 2});
  }
}

// ---- Mass --------------------------------------------------------------------------------------

// A state of which only the number of tokens is asked.
class CountedState : public State {
 public:
  explicit CountedState(int64_t tokens) : tokens_(tokens) {}
  const StateShape& shape() const override { return shape_; }
  int64_t tokens() const override { return tokens_; }
  int64_t cores() const override { return 0; }
  int64_t first_raw() const override { return 0; }
  int64_t bytes() const override { return 0; }
  bool LayerReady(int64_t) const override { return true; }

 private:
  const StateShape shape_;
  const int64_t tokens_;
};

void CheckMass(AttentionMass& mass, const Sequence& s, int64_t first, int64_t rows) {
  SCOPED_TRACE(NameOfCase(s, first, rows));
  AttentionCase one(s, first, rows);
  const int64_t t = first + rows - 1;
  std::vector<double> expected, tolerance;
  for (int64_t h = 0; h < s.dims.query_heads; ++h) {
    const Expected head = Define(s, t, h, Arithmetic::kF32);
    expected.resize(head.weights.size());
    tolerance.resize(head.weights.size(), 1e-9);
    for (size_t n = 0; n < expected.size(); ++n) {
      expected[n] += head.weights[n];
      tolerance[n] += head.weights[n] * head.relative;
    }
  }
  // What is there stays: sums of two layers, which are the same one here, come on top.
  std::vector<float> got(expected.size(), 1.0f);
  CountedState state(first);
  BatchItem item;
  item.state = &state;
  item.rows = rows;
  item.outputs = 1;
  item.attention_mass = got.data();
  ASSERT_TRUE(mass.Begin(one.shape(), {&item, 1}, one.stream()).ok());
  ASSERT_TRUE(mass.wanted());
  for (int layer = 0; layer < 2; ++layer) {
    ASSERT_TRUE(mass.Add(one.layer(), one.view(), one.qkv(), one.stream()).ok());
  }
  EXPECT_EQ(got[0], 1.0f);
  ASSERT_TRUE(mass.Finish(one.stream()).ok());
  EXPECT_FALSE(mass.wanted());
  for (size_t n = 0; n < got.size(); ++n) {
    EXPECT_NEAR(got[n], 1 + 2 * expected[n], 2 * tolerance[n] + 2e-7) << "position " << n;
  }
}

TEST(AttentionMassTest, PoliciesAndTypes) {
  AttentionMass mass;  // one for all steps, as a backend has it
  size_t n = 0;
  for (const AttentionPolicy& policy : OddPolicies()) {
    for (const auto& [first, rows] : {std::pair<int64_t, int64_t>{0, 1}, {129, 3}, {300, 1}}) {
      const Sequence s(policy, 4, 2, n % 5 != 0 ? 32 : 254, first + rows, static_cast<uint32_t>(n),
                       kStateTypes[n % std::size(kStateTypes)]);
      ++n;
      CheckMass(mass, s, first, rows);
    }
  }
}

// Longer than one turn of all warps.
TEST(AttentionMassTest, LongRow) {
  AttentionMass mass;
  CheckMass(mass, Sequence(AttentionPolicy::Full(), 1, 1, 2, 4400, 3), 4399, 1);
}

TEST(AttentionMassTest, NobodyAsks) {
  CountedState state(5);
  BatchItem item;
  item.state = &state;
  item.rows = 1;
  AttentionMass mass;
  const Sequence s(AttentionPolicy::Full(), 2, 1, 8, 6, 1);
  const AttentionCase one(s, 5, 1);
  ASSERT_TRUE(mass.Begin(one.shape(), {&item, 1}, one.stream()).ok());
  EXPECT_FALSE(mass.wanted());
  std::vector<int64_t> key;
  mass.AppendKey(&key);
  EXPECT_TRUE(key.empty());
  EXPECT_TRUE(mass.Add(0, one.view(), one.qkv(), one.stream()).ok());
  EXPECT_TRUE(mass.Finish(one.stream()).ok());
}

}  // namespace
}  // namespace longleaf::kernels::cuda
