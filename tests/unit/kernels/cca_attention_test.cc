// The CPU attention kernel against its definition in double precision, on every instruction set of
// this machine. Whatever a query may not see is NaN or a null page here, so that a read of it
// shows.
#include "kernels/cpu/cca_attention.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/page.h"
#include "kernels/cpu/thread_pool.h"

namespace longleaf::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Random tokens, row-major: keys and values [count, heads, d].
struct Tokens {
  Tokens(int64_t count, int64_t heads, int64_t d, std::mt19937& random)
      : heads(heads), d(d), keys(static_cast<size_t>(count * heads * d)), values(keys.size()) {
    std::normal_distribution<float> normal;
    for (float& x : keys) x = 1.5f * normal(random);
    for (float& x : values) x = normal(random);
  }
  const float* Key(int64_t j, int64_t h) const { return keys.data() + (j * heads + h) * d; }
  const float* Value(int64_t j, int64_t h) const { return values.data() + (j * heads + h) * d; }

  int64_t heads, d;
  std::vector<float> keys, values;
};

// Tokens first .. end-1 in pages: other slots are NaN, other pages null.
struct Pages {
  Pages(const Tokens& tokens, int64_t first, int64_t end) {
    const int64_t d = tokens.d;
    storage.resize(static_cast<size_t>((end + kPageTokens - 1) / kPageTokens));
    for (int64_t j = first; j < end; ++j) {
      std::vector<float>& page = storage[static_cast<size_t>(j / kPageTokens)];
      if (page.empty()) page.assign(static_cast<size_t>(PageFloats(tokens.heads, d)), kNaN);
      for (int64_t h = 0; h < tokens.heads; ++h) {
        for (int64_t i = 0; i < d; ++i) {
          page[static_cast<size_t>(PageKeyOffset(h, d) + i * kPageTokens + j % kPageTokens)] =
              tokens.Key(j, h)[i];
          page[static_cast<size_t>(PageValueOffset(tokens.heads, h, d) + j % kPageTokens * d + i)] =
              tokens.Value(j, h)[i];
        }
      }
    }
    for (const std::vector<float>& page : storage) {
      pointers.push_back(page.empty() ? nullptr : page.data());
    }
  }
  std::vector<std::vector<float>> storage;
  std::vector<const float*> pointers;
};

// One state with queries for all of its tokens. The cores are random: pooling is not under test.
struct Sequence {
  Sequence(const AttentionPolicy& policy, int64_t query_heads, int64_t kv_heads, int64_t d,
           int64_t length, uint32_t seed)
      : policy(policy),
        dims{query_heads, kv_heads, policy.CoreHeadCount(query_heads, kv_heads), d},
        length(length),
        stride((query_heads + 2 * kv_heads) * d),
        random(seed),
        raw(length, kv_heads, d, random),
        cores(std::max<int64_t>(1, policy.CoresAfter(length)), dims.core_heads, d, random),
        query(static_cast<size_t>(length * stride), kNaN) {
    std::normal_distribution<float> normal;
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t i = 0; i < query_heads * d; ++i) {
        query[static_cast<size_t>(t * stride + i)] = 1.5f * normal(random);
      }
    }
  }

  AttentionPolicy policy;
  AttentionDims dims;
  int64_t length;
  int64_t stride;
  std::mt19937 random;
  Tokens raw;
  Tokens cores;
  std::vector<float> query;
};

struct Chunk {
  Chunk(const Sequence& s, int64_t first, int64_t rows, bool want_mass)
      : core_pages(s.cores, 0, s.policy.CoresVisible(first + rows)),
        raw_pages(s.raw, s.policy.FirstRaw(first + 1), first + rows),
        out(static_cast<size_t>(rows * s.dims.query_heads * s.dims.head_dim), kNaN),
        mass(static_cast<size_t>(s.policy.CoresVisible(first + rows) + first + rows -
                                 s.policy.FirstRaw(first + rows))) {
    item = {first,
            rows,
            s.query.data() + first * s.stride,
            out.data(),
            core_pages.pointers.data(),
            raw_pages.pointers.data(),
            want_mass ? mass.data() : nullptr};
  }
  Pages core_pages, raw_pages;
  std::vector<float> out, mass;
  AttentionItem item;
};

// The definition, for one query of one head. weights: [cores visible | raw visible]. tolerance:
// per output column, from the rounding of scores (their absolute products), of the weighted sum
// (its absolute terms) and of the number of terms.
struct Expected {
  std::vector<double> weights, out, tolerance;
  double relative = 0;  // tolerance of a weight, relative
};

Expected Define(const Sequence& s, int64_t t, int64_t h) {
  const int64_t d = s.dims.head_dim;
  const int64_t share = s.dims.query_heads / s.dims.kv_heads;
  const int64_t core_head = h / (s.dims.query_heads / s.dims.core_heads);
  const float* q = s.query.data() + t * s.stride + h * d;
  std::vector<const float*> keys, values;
  for (int64_t j = 0; j < s.policy.CoresVisible(t + 1); ++j) {
    keys.push_back(s.cores.Key(j, core_head));
    values.push_back(s.cores.Value(j, core_head));
  }
  for (int64_t j = s.policy.FirstRaw(t + 1); j <= t; ++j) {
    keys.push_back(s.raw.Key(j, h / share));
    values.push_back(s.raw.Value(j, h / share));
  }
  Expected e;
  double top = -std::numeric_limits<double>::infinity(), products = 0, total = 0;
  for (const float* key : keys) {
    double dot = 0, absolute = 0;
    for (int64_t i = 0; i < d; ++i) {
      dot += double{q[i]} * key[i];
      absolute += std::abs(double{q[i]} * key[i]);
    }
    e.weights.push_back(dot / std::sqrt(static_cast<double>(d)));
    products = std::max(products, absolute / std::sqrt(static_cast<double>(d)));
    top = std::max(top, e.weights.back());
  }
  for (double& w : e.weights) total += w = std::exp(w - top);
  e.out.resize(static_cast<size_t>(d));
  e.tolerance.resize(static_cast<size_t>(d));
  e.relative = std::numeric_limits<float>::epsilon() *
               (8 + 4 * products + std::sqrt(static_cast<double>(keys.size())));
  for (size_t j = 0; j < keys.size(); ++j) {
    e.weights[j] /= total;
    for (int64_t i = 0; i < d; ++i) {
      e.out[static_cast<size_t>(i)] += e.weights[j] * values[j][i];
      e.tolerance[static_cast<size_t>(i)] += e.relative * e.weights[j] * std::abs(values[j][i]);
    }
  }
  return e;
}

// Calls `body` with each instruction set of this machine in force.
template <typename Body>
void OnEveryTarget(const Body& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
}

void Attend(const Sequence& s, const std::vector<Chunk*>& chunks, int64_t threads = 2) {
  ThreadPool pool(threads);
  std::vector<AttentionItem> items;
  for (Chunk* chunk : chunks) {
    std::fill(chunk->out.begin(), chunk->out.end(), kNaN);
    std::fill(chunk->mass.begin(), chunk->mass.end(), 0.0f);
    items.push_back(chunk->item);
  }
  CcaAttention(s.policy, s.dims, s.stride, items, pool);
}

void ExpectRight(const Sequence& s, const Chunk& chunk, const std::vector<Expected>& expected) {
  const int64_t d = s.dims.head_dim;
  int64_t wrong = 0;
  for (size_t r = 0; r < expected.size(); ++r) {  // [rows, H]
    for (size_t i = 0; i < static_cast<size_t>(d); ++i) {
      const float got = chunk.out[r * static_cast<size_t>(d) + i];
      if (std::abs(got - expected[r].out[i]) <= expected[r].tolerance[i]) continue;
      if (++wrong > 3) continue;
      ADD_FAILURE() << "row and head " << r << " column " << i << ": " << got << " instead of "
                    << expected[r].out[i] << " +- " << expected[r].tolerance[i];
    }
  }
  EXPECT_EQ(wrong, 0);
  if (chunk.item.attention_mass == nullptr || expected.empty()) return;
  const size_t heads = static_cast<size_t>(s.dims.query_heads);
  double total = 0;
  for (size_t j = 0; j < chunk.mass.size(); ++j) {
    double mass = 0, tolerance = 1e-9;
    for (size_t r = expected.size() - heads; r < expected.size(); ++r) {
      mass += expected[r].weights[j];
      tolerance += expected[r].weights[j] * expected[r].relative;
    }
    EXPECT_NEAR(chunk.mass[j], mass, tolerance) << "position " << j;
    total += double{chunk.mass[j]};
  }
  EXPECT_NEAR(total, static_cast<double>(heads), 1e-5 * static_cast<double>(heads));
}

// Runs `chunks` of one sequence in one call, on every instruction set, and holds them against the
// definition.
void Check(const Sequence& s, const std::vector<Chunk*>& chunks) {
  std::vector<std::vector<Expected>> expected;
  for (const Chunk* chunk : chunks) {
    expected.emplace_back();
    for (int64_t r = 0; r < chunk->item.rows; ++r) {
      for (int64_t h = 0; h < s.dims.query_heads; ++h) {
        expected.back().push_back(Define(s, chunk->item.first_token + r, h));
      }
    }
  }
  OnEveryTarget([&] {
    Attend(s, chunks);
    for (size_t i = 0; i < chunks.size(); ++i) ExpectRight(s, *chunks[i], expected[i]);
  });
}

void Check(const AttentionPolicy& policy, int64_t query_heads, int64_t kv_heads, int64_t d,
           int64_t first, int64_t rows) {
  SCOPED_TRACE(policy.ToString() + " H=" + std::to_string(query_heads) + "/" +
               std::to_string(kv_heads) + " d=" + std::to_string(d) +
               " first=" + std::to_string(first) + " rows=" + std::to_string(rows));
  const Sequence s(policy, query_heads, kv_heads, d, first + rows,
                   static_cast<uint32_t>(first * 1000 + rows * 10 + d));
  Chunk chunk(s, first, rows, /*want_mass=*/true);
  Check(s, {&chunk});
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

TEST(CcaAttentionTest, ChunksOfAnyLengthAtAnyPlace) {
  for (const AttentionPolicy& policy : Policies()) {
    for (const int64_t rows : {1, 2, 62, 64, 65, 127, 287}) {
      for (const int64_t first : {0, 63, 101}) Check(policy, 4, 2, 8, first, rows);
    }
  }
}

TEST(CcaAttentionTest, SingleQueriesAroundPageGroupAndWindowEdges) {
  for (const AttentionPolicy& policy : Policies()) {
    for (const int64_t edge :
         {int64_t{64}, int64_t{128}, int64_t{7 * 64}, policy.window, policy.window + policy.group,
          policy.window + policy.sinks, policy.window + 64 * policy.group}) {
      for (int64_t first = std::max<int64_t>(0, edge - 2); first <= edge + 1; ++first) {
        Check(policy, 4, 2, 8, first, 1);
      }
    }
  }
}

TEST(CcaAttentionTest, HeadSizes) {
  for (const int64_t d : {2, 8, 10, 22, 32, 64, 80, 96, 100, 128, 256}) {
    for (const CoreHeads heads : {CoreHeads::kQuery, CoreHeads::kKeyValue}) {
      Check(AttentionPolicy::Cca(4, 16, heads), 6, 3, d, 190, 67);
      Check(AttentionPolicy::Cca(4, 16, heads), 6, 3, d, 500, 1);
    }
  }
}

TEST(CcaAttentionTest, HeadGroupings) {
  for (const CoreHeads heads : {CoreHeads::kQuery, CoreHeads::kKeyValue}) {
    const AttentionPolicy policy = AttentionPolicy::Cca(4, 16, heads);
    for (const int64_t rows : {1, 5, 70}) {
      Check(policy, 1, 1, 32, 130, rows);
      Check(policy, 3, 3, 32, 130, rows);
      Check(policy, 7, 1, 32, 130, rows);
      Check(policy, 14, 2, 64, 130, rows);
      Check(policy, 130, 1, 8, 130, rows);
    }
  }
}

// Long enough that a single query is split over its keys.
TEST(CcaAttentionTest, LongSingleQueries) {
  for (const int64_t first : {1023, 1024, 2500}) {
    for (const int64_t rows : {1, 3}) {
      Check(AttentionPolicy::Full(), 4, 2, 32, first, rows);
      Check(AttentionPolicy::Cca(1, 64, CoreHeads::kQuery), 4, 2, 32, first, rows);
    }
  }
}

// Scores that grow along the sequence move the reference exponent in every tile; a weight far below
// the largest must vanish without a trace.
TEST(CcaAttentionTest, ScoresOfAnySize) {
  for (const float scale : {-40.0f, 1e-20f, 40.0f}) {
    Sequence s(AttentionPolicy::Full(), 2, 1, 16, 400, 5);
    for (int64_t t = 0; t < s.length; ++t) {
      for (int64_t i = 0; i < 16; ++i) {
        s.raw.keys[static_cast<size_t>(t * 16 + i)] = scale * static_cast<float>(t) / 100;
      }
      for (int64_t i = 0; i < 32; ++i) s.query[static_cast<size_t>(t * s.stride + i)] = 1.0f;
    }
    Chunk whole(s, 0, 400, true);
    Chunk single(s, 399, 1, true);
    Check(s, {&whole, &single});
  }
}

TEST(CcaAttentionTest, SeveralItemsInOneCall) {
  const Sequence s(AttentionPolicy::Cca(4, 32, CoreHeads::kQuery), 4, 2, 32, 1500, 11);
  Chunk a(s, 0, 130, false), b(s, 1499, 1, true), c(s, 700, 3, false), d(s, 65, 65, true);
  Check(s, {&a, &b, &c, &d});
}

TEST(CcaAttentionTest, EmptyCallsAndItems) {
  const Sequence s(AttentionPolicy::Full(), 2, 1, 8, 3, 1);
  Attend(s, {});
  Chunk none(s, 2, 0, false), one(s, 2, 1, false);
  Check(s, {&none, &one});
}

TEST(CcaAttentionTest, MassIsAdded) {
  const Sequence s(AttentionPolicy::Streaming(4, 60), 4, 2, 16, 200, 3);
  Chunk chunk(s, 199, 1, true);
  Attend(s, {&chunk});
  const std::vector<float> once = chunk.mass;
  ThreadPool pool(2);
  CcaAttention(s.policy, s.dims, s.stride, {&chunk.item, 1}, pool);
  for (size_t j = 0; j < once.size(); ++j) EXPECT_EQ(chunk.mass[j], 2 * once[j]);
}

// Any split into chunks gives the same rows to rounding.
TEST(CcaAttentionTest, ChunksDoNotMatter) {
  for (const AttentionPolicy& policy : Policies()) {
    const Sequence s(policy, 4, 2, 16, 300, 17);
    Chunk whole(s, 0, 300, false);
    Attend(s, {&whole});
    for (const int64_t step : {1, 7, 64, 200}) {
      for (int64_t first = 0; first < 300; first += step) {
        Chunk part(s, first, std::min<int64_t>(step, 300 - first), false);
        Attend(s, {&part}, 1);
        const float* same = whole.out.data() + first * 4 * 16;
        float worst = 0;
        for (size_t i = 0; i < part.out.size(); ++i) {
          worst = std::max(worst, std::abs(part.out[i] - same[i]));
        }
        ASSERT_LE(worst, 1e-5f) << policy.ToString() << " at " << first << " by " << step;
      }
    }
  }
}

TEST(CcaAttentionTest, ThreadsDoNotMatterToTheBit) {
  const Sequence s(AttentionPolicy::Cca(1, 64, CoreHeads::kKeyValue), 8, 2, 32, 3000, 23);
  Chunk one_long(s, 2800, 200, true), one_single(s, 2999, 1, true);
  Attend(s, {&one_long, &one_single}, 1);
  for (const int64_t threads : {2, 5, 16}) {
    Chunk many_long(s, 2800, 200, true), many_single(s, 2999, 1, true);
    Attend(s, {&many_long, &many_single}, threads);
    EXPECT_EQ(many_long.out, one_long.out);
    EXPECT_EQ(many_long.mass, one_long.mass);
    EXPECT_EQ(many_single.out, one_single.out);
    EXPECT_EQ(many_single.mass, one_single.mass);
  }
}

}  // namespace
}  // namespace longleaf::kernels
