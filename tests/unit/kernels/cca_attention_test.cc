// The CPU attention kernel against its definition in double precision, on every instruction set of
// this machine. Batches that share pages are in shared_attention_test.cc.
#include "kernels/cpu/cca_attention.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/cca_attention_block.h"
#include "kernels/cpu/thread_pool.h"
#include "tests/unit/kernels/attention_fixture.h"

namespace longleaf::kernels {
namespace {

void Check(DType dtype, const AttentionPolicy& policy, int64_t query_heads, int64_t kv_heads,
           int64_t d, int64_t first, int64_t rows) {
  SCOPED_TRACE(std::string(NameOf(dtype)) + " " + policy.ToString() +
               " H=" + std::to_string(query_heads) + "/" + std::to_string(kv_heads) +
               " d=" + std::to_string(d) + " first=" + std::to_string(first) +
               " rows=" + std::to_string(rows));
  const Sequence s(policy, query_heads, kv_heads, d, first + rows,
                   static_cast<uint32_t>(first * 1000 + rows * 10 + d), dtype);
  Chunk chunk(s, first, rows, /*want_mass=*/true);
  CheckChunks({&chunk});
}

const std::vector<AttentionPolicy>& Policies() {
  static const auto& policies =
      *new std::vector<AttentionPolicy>{AttentionPolicy::Full(),
                                        AttentionPolicy::Cca(4, 8, CoreHeads::kQuery),
                                        AttentionPolicy::Cca(4, 8, CoreHeads::kKeyValue),
                                        AttentionPolicy::Cca(1, 1, CoreHeads::kQuery),
                                        AttentionPolicy::Cca(7, 70, CoreHeads::kKeyValue),
                                        AttentionPolicy::Cca(16, 64, CoreHeads::kQuery),
                                        AttentionPolicy::Streaming(4, 60),
                                        AttentionPolicy::Streaming(0, 1),
                                        AttentionPolicy::Streaming(100, 128)};
  return policies;
}

// The types of states in turn: for loops over so many cases that each type meets enough of them.
class TypeCycle {
 public:
  DType Next() { return kStateTypes[n_++ % std::size(kStateTypes)]; }

 private:
  size_t n_ = 0;
};

TEST(CcaAttentionTest, ChunksOfAnyLengthAtAnyPlace) {
  TypeCycle type;
  for (const AttentionPolicy& policy : Policies()) {
    for (const int64_t rows : {1, 2, 62, 64, 65, 127, 287}) {
      for (const int64_t first : {0, 63, 101}) Check(type.Next(), policy, 4, 2, 8, first, rows);
    }
  }
}

TEST(CcaAttentionTest, SingleQueriesAroundPageGroupAndWindowEdges) {
  TypeCycle type;
  for (const AttentionPolicy& policy : Policies()) {
    for (const int64_t edge :
         {int64_t{64}, int64_t{128}, int64_t{7 * 64}, policy.window, policy.window + policy.group,
          policy.window + policy.sinks, policy.window + 64 * policy.group}) {
      for (int64_t first = std::max<int64_t>(0, edge - 2); first <= edge + 1; ++first) {
        Check(type.Next(), policy, 4, 2, 8, first, 1);
      }
    }
  }
}

TEST(CcaAttentionTest, HeadSizes) {
  int64_t n = 0;
  for (const int64_t d : {2, 8, 10, 22, 32, 64, 80, 96, 100, 128, 254, 256}) {
    for (const DType dtype : kStateTypes) {
      const CoreHeads heads = n++ % 2 == 0 ? CoreHeads::kQuery : CoreHeads::kKeyValue;
      Check(dtype, AttentionPolicy::Cca(4, 16, heads), 6, 3, d, 190, d <= 64 ? 67 : 9);
      Check(dtype, AttentionPolicy::Cca(4, 16, heads), 6, 3, d, 300, 1);
    }
  }
}

TEST(CcaAttentionTest, HeadGroupings) {
  for (const CoreHeads heads : {CoreHeads::kQuery, CoreHeads::kKeyValue}) {
    const AttentionPolicy policy = AttentionPolicy::Cca(4, 16, heads);
    TypeCycle type;
    for (const int64_t rows : {1, 5, 70}) {
      Check(type.Next(), policy, 1, 1, 32, 130, rows);
      Check(type.Next(), policy, 3, 3, 32, 130, rows);
      Check(type.Next(), policy, 7, 1, 32, 130, rows);
      Check(type.Next(), policy, 14, 2, 64, 130, rows);
      Check(type.Next(), policy, 130, 1, 8, 130, rows);
    }
  }
}

// Long enough that a single query is split over its keys.
TEST(CcaAttentionTest, LongSingleQueries) {
  for (const DType dtype : kStateTypes) {
    Check(dtype, AttentionPolicy::Full(), 4, 2, 32, 1023, 1);
    Check(dtype, AttentionPolicy::Cca(1, 64, CoreHeads::kQuery), 4, 2, 32, 1024, 3);
    Check(dtype, AttentionPolicy::Full(), 4, 2, 32, 2500, 3);
    Check(dtype, AttentionPolicy::Cca(1, 64, CoreHeads::kQuery), 4, 2, 32, 2500, 1);
  }
}

// Scores that grow along the sequence move the reference exponent in every tile; a weight far below
// the largest must vanish without a trace.
TEST(CcaAttentionTest, ScoresOfAnySize) {
  for (const float scale : {-40.0f, 1e-20f, 40.0f}) {
    for (const DType dtype : kStateTypes) {
      Sequence s(AttentionPolicy::Full(), 2, 1, 16, 400, 5, dtype);
      for (int64_t t = 0; t < s.length; ++t) {
        for (int64_t i = 0; i < 16; ++i) {
          s.raw.keys[static_cast<size_t>(t * 16 + i)] = scale * static_cast<float>(t) / 100;
        }
        for (int64_t i = 0; i < 32; ++i) s.query[static_cast<size_t>(t * s.stride + i)] = 1.0f;
      }
      s.raw.Round();
      Chunk whole(s, 0, 400, true);
      Chunk single(s, 399, 1, true);
      CheckChunks({&whole, &single});
    }
  }
}

TEST(CcaAttentionTest, SeveralItemsInOneCall) {
  for (const DType dtype : kStateTypes) {
    const Sequence s(AttentionPolicy::Cca(4, 32, CoreHeads::kQuery), 4, 2, 32, 700, 11, dtype);
    Chunk a(s, 0, 130, false), b(s, 699, 1, true), c(s, 400, 3, false), d(s, 65, 65, true);
    CheckChunks({&a, &b, &c, &d});
  }
}

TEST(CcaAttentionTest, EmptyCallsAndItems) {
  const Sequence s(AttentionPolicy::Full(), 2, 1, 8, 3, 1);
  ThreadPool pool(2);
  CcaAttention(s.policy, s.dims, s.stride, {}, pool);
  Chunk none(s, 2, 0, false), one(s, 2, 1, false);
  CheckChunks({&none, &one});
}

TEST(CcaAttentionTest, MassIsAdded) {
  for (const DType dtype : kStateTypes) {
    const Sequence s(AttentionPolicy::Streaming(4, 60), 4, 2, 16, 200, 3, dtype);
    Chunk chunk(s, 199, 1, true);
    Attend({&chunk});
    const std::vector<float> once = chunk.mass;
    ThreadPool pool(2);
    CcaAttention(s.policy, s.dims, s.stride, {&chunk.item, 1}, pool);
    for (size_t j = 0; j < once.size(); ++j) EXPECT_EQ(chunk.mass[j], 2 * once[j]);
  }
}

// Any split into chunks gives the same rows to the rounding of f32 sums, whatever the products: a
// query is rounded alike in every chunk, and so is a weight, but where it lies next to a tie.
constexpr float kSameChunks = 1e-5f;

TEST(CcaAttentionTest, ChunksDoNotMatter) {
  float worst_of_all[3] = {};
  for (const AttentionPolicy& policy : Policies()) {
    for (const DType dtype : kStateTypes) {
      const Sequence s(policy, 4, 2, 16, 300, 17, dtype);
      float& worst = worst_of_all[static_cast<int>(ArithmeticOf(s.dims))];
      Chunk whole(s, 0, 300, false);
      Attend({&whole});
      for (const int64_t step : {1, 7, 64, 200}) {
        for (int64_t first = 0; first < 300; first += step) {
          Chunk part(s, first, std::min<int64_t>(step, 300 - first), false);
          Attend({&part}, 1);
          const float* same = whole.out.data() + first * 4 * 16;
          float difference = 0;
          for (size_t i = 0; i < part.out.size(); ++i) {
            difference = std::max(difference, std::abs(part.out[i] - same[i]));
          }
          worst = std::max(worst, difference);
          ASSERT_LE(difference, kSameChunks)
              << NameOf(dtype) << " " << policy.ToString() << " at " << first << " by " << step;
        }
      }
    }
  }
  RecordProperty("worst in f32", std::to_string(worst_of_all[0] * 1e6f) + "e-6");
  RecordProperty("worst in bf16", std::to_string(worst_of_all[1] * 1e6f) + "e-6");
  RecordProperty("worst in bytes", std::to_string(worst_of_all[2] * 1e6f) + "e-6");
}

TEST(CcaAttentionTest, ThreadsDoNotMatterToTheBit) {
  for (const DType dtype : kStateTypes) {
    const Sequence s(AttentionPolicy::Cca(1, 64, CoreHeads::kKeyValue), 8, 2, 32, 3000, 23, dtype);
    Chunk one_long(s, 2800, 200, true), one_single(s, 2999, 1, true);
    Attend({&one_long, &one_single}, 1);
    for (const int64_t threads : {2, 5, 16}) {
      Chunk many_long(s, 2800, 200, true), many_single(s, 2999, 1, true);
      Attend({&many_long, &many_single}, threads);
      EXPECT_EQ(many_long.out, one_long.out);
      EXPECT_EQ(many_long.mass, one_long.mass);
      EXPECT_EQ(many_single.out, one_single.out);
      EXPECT_EQ(many_single.mass, one_single.mass);
    }
  }
}

// What the products in use round away, of a row's greatest value: against the definition with
// queries as they are, over the same rounded state. Measured: 2e-6 in f32, 7e-3 in bf16, 2e-4 in
// bytes.
TEST(CcaAttentionTest, WhatProductsRoundAway) {
  for (const DType dtype : kStateTypes) {
    const Sequence s(AttentionPolicy::Cca(4, 64, CoreHeads::kKeyValue), 8, 2, 64, 600, 29, dtype);
    const Arithmetic arithmetic = ArithmeticOf(s.dims);
    const double allowed = arithmetic == Arithmetic::kF32    ? 1e-5
                           : arithmetic == Arithmetic::kBF16 ? 1e-2
                                                             : 4e-4;
    Chunk chunk(s, 536, 64, false);
    Attend({&chunk});
    double worst = 0;
    for (int64_t r = 0; r < 64; ++r) {
      double difference = 0, largest = 0;
      for (int64_t h = 0; h < 8; ++h) {
        const Expected expected = Define(s, 536 + r, h, Arithmetic::kF32);
        for (int64_t i = 0; i < 64; ++i) {
          const double want = expected.out[static_cast<size_t>(i)];
          const float got = chunk.out[static_cast<size_t>((r * 8 + h) * 64 + i)];
          difference = std::max(difference, std::abs(got - want));
          largest = std::max(largest, std::abs(want));
        }
      }
      worst = std::max(worst, difference / largest);
    }
    RecordProperty(std::string("worst over ") + NameOf(dtype), std::to_string(worst));
    EXPECT_LE(worst, allowed) << NameOf(dtype);
  }
}

// A state that cannot be right must not give an answer that looks so.
TEST(CcaAttentionTest, DamageShows) {
  for (const DType dtype : kStateTypes) {
    for (const bool in_keys : {false, true}) {
      SCOPED_TRACE(std::string(NameOf(dtype)) + (in_keys ? " key" : " value"));
      Sequence s(AttentionPolicy::Full(), 2, 1, 16, 200, 31, dtype);
      std::vector<float>& rows = in_keys ? s.raw.keys : s.raw.values;
      std::fill_n(rows.begin() + 70 * 16, 16, kNaN);
      for (const Products products : {Products::kFastest, Products::kF32}) {
        Chunk chunk(s, 199, 1, false);
        Attend({&chunk}, 1, products);
        for (const float x : chunk.out) EXPECT_TRUE(std::isnan(x));
      }
    }
  }
}

}  // namespace
}  // namespace longleaf::kernels
