// Sequences in paged state of every type for tests of the CPU attention kernel, and its definition
// in double precision. Whatever a query may not see is NaN or a null page here, so that a read of
// it shows.
#ifndef LONGLEAF_TESTS_UNIT_KERNELS_ATTENTION_FIXTURE_H_
#define LONGLEAF_TESTS_UNIT_KERNELS_ATTENTION_FIXTURE_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/cca_attention.h"
#include "kernels/cpu/cca_attention_block.h"
#include "kernels/cpu/page.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/state_rounding.h"

namespace longleaf::kernels {

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

inline constexpr DType kStateTypes[] = {DType::kF32, DType::kBF16, DType::kI8};

// Random tokens, row-major: keys and values [count, heads, d], as a state of that type keeps them.
struct Tokens {
  Tokens(int64_t count, int64_t heads, int64_t d, DType dtype, std::mt19937& random)
      : heads(heads), d(d), dtype(dtype), keys(static_cast<size_t>(count * heads * d)) {
    values.resize(keys.size());
    std::normal_distribution<float> normal;
    for (float& x : keys) x = 1.5f * normal(random);
    for (float& x : values) x = normal(random);
    Round();
  }
  // The first `kept` of `from`, then random ones.
  Tokens(const Tokens& from, int64_t kept, int64_t count, std::mt19937& random)
      : Tokens(count - kept, from.heads, from.d, from.dtype, random) {
    const auto end = from.keys.begin() + kept * heads * d;
    keys.insert(keys.begin(), from.keys.begin(), end);
    values.insert(values.begin(), from.values.begin(),
                  from.values.begin() + (end - from.keys.begin()));
  }
  void Round() {
    std::vector<std::byte> elements(static_cast<size_t>(d * SizeOf(dtype)));
    for (std::vector<float>* rows : {&keys, &values}) {
      for (size_t at = 0; at < rows->size(); at += static_cast<size_t>(d)) {
        const float scale = RoundRow(dtype, rows->data() + at, d, elements.data());
        ReadRow(dtype, elements.data(), scale, d, rows->data() + at);
      }
    }
  }
  const float* Key(int64_t j, int64_t h) const { return keys.data() + (j * heads + h) * d; }
  const float* Value(int64_t j, int64_t h) const { return values.data() + (j * heads + h) * d; }

  int64_t heads, d;
  DType dtype;
  std::vector<float> keys, values;
};

// Tokens first .. end-1 in pages: other slots are all one bits, other pages null.
struct Pages {
  Pages(const Tokens& tokens, int64_t first, int64_t end) {
    const int64_t d = tokens.d, size = SizeOf(tokens.dtype), packing = PagePacking(tokens.dtype);
    const PageLayout layout{tokens.dtype, tokens.heads, d};
    storage.resize(static_cast<size_t>((end + kPageTokens - 1) / kPageTokens));
    std::vector<std::byte> row(static_cast<size_t>(d * size));
    for (int64_t j = first; j < end; ++j) {
      std::vector<Line>& lines = storage[static_cast<size_t>(j / kPageTokens)];
      if (lines.empty()) lines.resize(static_cast<size_t>(layout.bytes()) / sizeof(Line));
      std::byte* page = lines.data()->bytes;
      const int64_t slot = j % kPageTokens;
      for (int64_t h = 0; h < tokens.heads; ++h) {
        const float key_scale = RoundRow(tokens.dtype, tokens.Key(j, h), d, row.data());
        for (int64_t i = 0; i < (d + packing - 1) / packing * packing; ++i) {
          std::byte* to = page + layout.keys(h) +
                          ((i / packing * kPageTokens + slot) * packing + i % packing) * size;
          std::memset(to, 0, static_cast<size_t>(size));
          if (i < d) std::memcpy(to, row.data() + i * size, static_cast<size_t>(size));
        }
        const float value_scale = RoundRow(tokens.dtype, tokens.Value(j, h), d, row.data());
        for (int64_t i = 0; i < d; ++i) {
          std::memcpy(page + layout.values(h) +
                          ((slot / packing * d + i) * packing + slot % packing) * size,
                      row.data() + i * size, static_cast<size_t>(size));
        }
        if (tokens.dtype != DType::kI8) continue;
        std::memcpy(page + layout.key_scales(h) + slot * 4, &key_scale, 4);
        std::memcpy(page + layout.value_scales(h) + slot * 4, &value_scale, 4);
      }
    }
    for (const std::vector<Line>& page : storage) {
      pointers.push_back(page.empty() ? nullptr : page.data()->bytes);
    }
  }
  struct alignas(64) Line {
    Line() { std::memset(bytes, 0xff, sizeof(bytes)); }
    std::byte bytes[64];
  };
  std::vector<std::vector<Line>> storage;
  std::vector<const std::byte*> pointers;
};

// One state with queries for all of its tokens. The cores are random: pooling is not under test.
struct Sequence {
  Sequence(const AttentionPolicy& policy, int64_t query_heads, int64_t kv_heads, int64_t d,
           int64_t length, uint32_t seed, DType dtype = DType::kF32)
      : policy(policy),
        dims{query_heads, kv_heads, policy.CoreHeadCount(query_heads, kv_heads), d, dtype},
        length(length),
        stride((query_heads + 2 * kv_heads) * d),
        random(seed),
        raw(length, kv_heads, d, dtype, random),
        cores(std::max<int64_t>(1, policy.CoresAfter(length)), dims.core_heads, d, dtype, random),
        query(static_cast<size_t>(length * stride), kNaN) {
    AskFrom(0);
  }
  // Goes on from all of `prefix`; queries for the last `rows` tokens only.
  Sequence(const Sequence& prefix, int64_t length, int64_t rows, uint32_t seed)
      : policy(prefix.policy),
        dims(prefix.dims),
        length(length),
        stride(prefix.stride),
        random(seed),
        raw(prefix.raw, prefix.length, length, random),
        cores(prefix.cores, policy.CoresAfter(prefix.length),
              std::max<int64_t>(1, policy.CoresAfter(length)), random),
        query(static_cast<size_t>(length * stride), kNaN) {
    AskFrom(length - rows);
  }
  // Random queries for the tokens from `first` on.
  void AskFrom(int64_t first) {
    std::normal_distribution<float> normal;
    for (int64_t t = first; t < length; ++t) {
      for (int64_t i = 0; i < dims.query_heads * dims.head_dim; ++i) {
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
    sequence = &s;
    item = {first,
            rows,
            s.query.data() + first * s.stride,
            out.data(),
            core_pages.pointers.data(),
            raw_pages.pointers.data(),
            want_mass ? mass.data() : nullptr};
  }
  const Sequence* sequence;
  Pages core_pages, raw_pages;
  std::vector<float> out, mass;
  AttentionItem item;
};

// x to the nearest number of bf16.
inline float NearestBF16(float x) {
  std::byte element[2];
  RoundRow(DType::kBF16, &x, 1, element);
  ReadRow(DType::kBF16, element, 1.0f, 1, &x);
  return x;
}

// The definition, for one query of one head. weights: [cores visible | raw visible]. tolerance:
// per output column, from the rounding of scores (their absolute products), of the weighted sum
// (its absolute terms) and of the number of terms. With queries and weights as `arithmetic` has
// them: bf16 queries are rounded here too, the rest is left to the tolerance.
struct Expected {
  std::vector<double> weights, out, tolerance;
  double relative = 0;  // tolerance of a weight, relative
};

inline Expected Define(const Sequence& s, int64_t t, int64_t h, Arithmetic arithmetic) {
  const int64_t d = s.dims.head_dim;
  const int64_t share = s.dims.query_heads / s.dims.kv_heads;
  const int64_t core_head = h / (s.dims.query_heads / s.dims.core_heads);
  const double scale = std::numbers::log2e / std::sqrt(static_cast<double>(d));
  std::vector<double> q(static_cast<size_t>(d));
  double largest = 0;
  for (int64_t i = 0; i < d; ++i) {
    const float x = s.query[static_cast<size_t>(t * s.stride + h * d + i)];
    q[static_cast<size_t>(i)] =
        arithmetic == Arithmetic::kBF16 ? double{NearestBF16(x * QueryScale(d))} : x * scale;
    largest = std::max(largest, std::abs(q[static_cast<size_t>(i)]));
  }
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
  double top = -std::numeric_limits<double>::infinity(), products = 0, sums = 0, total = 0;
  for (const float* key : keys) {
    double dot = 0, absolute = 0, sum = 0;
    for (int64_t i = 0; i < d; ++i) {
      const double product = q[static_cast<size_t>(i)] * double{key[i]};
      dot += product;
      absolute += std::abs(product);
      sum += std::abs(key[i]);
    }
    sums = std::max(sums, sum);
    e.weights.push_back(dot);
    products = std::max(products, absolute / std::numbers::log2e);
    top = std::max(top, dot);
  }
  for (double& w : e.weights) total += w = std::exp2(w - top);
  e.out.resize(static_cast<size_t>(d));
  e.tolerance.resize(static_cast<size_t>(d));
  e.relative = std::numeric_limits<float>::epsilon() *
               (8 + 4 * products + std::sqrt(static_cast<double>(keys.size())));
  // Half a unit of 8 bits in each weight, and at most as much in their sum.
  if (arithmetic == Arithmetic::kBF16) e.relative += 0x1p-7;
  // Half a unit of 16 bits in each element of the query. In each weight times its value's scale, up
  // to half a unit of 14 bits of the greatest in a tile, of either sign: many make little more.
  double terms = 0;
  if (arithmetic == Arithmetic::kBytes) {
    e.relative += largest * 0x1p-16 * sums * std::numbers::ln2;
    for (size_t j = 0; j < keys.size(); ++j) {
      const auto [least, most] = std::minmax_element(values[j], values[j] + d);
      terms = std::max(terms, e.weights[j] / total * std::max(-*least, *most));
    }
    std::fill(e.tolerance.begin(), e.tolerance.end(), terms * 0x1p-12);
  }
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

// Runs `chunks`, of sequences of one shape, in one call.
inline void Attend(const std::vector<Chunk*>& chunks, int64_t threads = 2,
                   Products products = Products::kFastest) {
  if (chunks.empty()) return;
  const Sequence& s = *chunks.front()->sequence;
  AttentionDims dims = s.dims;
  dims.products = products;
  ThreadPool pool(threads);
  std::vector<AttentionItem> items;
  for (Chunk* chunk : chunks) {
    std::fill(chunk->out.begin(), chunk->out.end(), kNaN);
    std::fill(chunk->mass.begin(), chunk->mass.end(), 0.0f);
    items.push_back(chunk->item);
  }
  CcaAttention(s.policy, dims, s.stride, items, pool);
}

// expected: [rows, H]
inline void ExpectRight(const Chunk& chunk, const std::vector<Expected>& expected) {
  const Sequence& s = *chunk.sequence;
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

inline std::vector<std::vector<Expected>> DefineAll(const std::vector<Chunk*>& chunks,
                                                    Arithmetic arithmetic) {
  std::vector<std::vector<Expected>> expected;
  for (const Chunk* chunk : chunks) {
    const Sequence& s = *chunk->sequence;
    expected.emplace_back();
    for (int64_t r = 0; r < chunk->item.rows; ++r) {
      for (int64_t h = 0; h < s.dims.query_heads; ++h) {
        expected.back().push_back(Define(s, chunk->item.first_token + r, h, arithmetic));
      }
    }
  }
  return expected;
}

// Runs `chunks` in one call, on every instruction set and with both kinds of products, and holds
// them against the definition.
inline void CheckChunks(const std::vector<Chunk*>& chunks) {
  std::vector<std::vector<Expected>> exact, rounded;
  OnEveryTarget([&] {
    const Arithmetic fastest = ArithmeticOf(chunks.front()->sequence->dims);
    if (fastest != Arithmetic::kF32) {
      SCOPED_TRACE("fastest products");
      if (rounded.empty()) rounded = DefineAll(chunks, fastest);
      Attend(chunks);
      for (size_t i = 0; i < chunks.size(); ++i) ExpectRight(*chunks[i], rounded[i]);
    }
    if (exact.empty()) exact = DefineAll(chunks, Arithmetic::kF32);
    Attend(chunks, 2, Products::kF32);
    for (size_t i = 0; i < chunks.size(); ++i) ExpectRight(*chunks[i], exact[i]);
  });
}

}  // namespace longleaf::kernels

#endif  // LONGLEAF_TESTS_UNIT_KERNELS_ATTENTION_FIXTURE_H_
