// The queries, keys and values of one head of one sequence as the products of
// attention want them: rotated, with a core for each group of tokens, in units;
// and the way of their gradients back.
#ifndef LONGLEAF_MODEL_DEMO_TRAINING_ROTATED_HEAD_H_
#define LONGLEAF_MODEL_DEMO_TRAINING_ROTATED_HEAD_H_

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "blocks.h"
#include "product.h"
#include "vector.h"

inline constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;

// What a call is given; the Python side fills it in (see kernels.py).
struct AttentionCall {
  int64_t batch, tokens, heads, document, group;
  const void* qkv;               // [batch, tokens, 3, heads, width]
  const float* cosines;          // [batch, tokens, width / 2]
  const float* sines;            // the same
  const int32_t* cores_visible;  // [batch, tokens]
  const int32_t* branch_start;   // [batch, tokens]
  void* out;                     // [batch, tokens, heads, width]
  float* log_sums;               // [batch, heads, tokens]: ln of the sum of exp(score)
  const void* out_gradient;      // like out; the backward pass only, as the next
  void* qkv_gradient;            // like qkv
};

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<float[], Free>;

inline Buffer AllocateZeros(int64_t floats) {
  const size_t bytes = RoundUp(floats * sizeof(float), 64);
  float* p = static_cast<float*>(std::aligned_alloc(64, bytes));
  std::memset(p, 0, bytes);
  return Buffer(p);
}

// With bf16 input the factors of products are bf16, where the processor
// multiplies these. Keys and values lie in rows: the cores first, then from row
// raw() the tokens. One thread works on it.
template <typename T, int kWidth>
class RotatedHead {
 public:
  using Unit = std::conditional_t<std::is_same_v<T, Bf16>, Pair, Single>;
  static constexpr int kUnits = kWidth / Unit::kPack;  // units of a row along its width

  RotatedHead(const AttentionCall& call, bool backward)
      : call_(call),
        backward_(backward),
        cores_(call.group > 0 ? call.document / call.group : 0),
        raw_(RoundUp(cores_, kKeyMultiple)),
        rows_(raw_ + RoundUp(call.tokens, 2) + kKeyMultiple),
        q_along_(AllocateZeros((call.tokens + kRows) * kUnits)),
        k_along_(AllocateZeros(rows_ * kUnits)),
        v_across_(AllocateZeros(rows_ * kUnits)),
        pool_(AllocateZeros(call.tokens)),
        group_k_(AllocateZeros(call.group * kWidth)),
        group_v_(AllocateZeros(call.group * kWidth)),
        core_k_(AllocateZeros(raw_ * kWidth)),
        core_v_(AllocateZeros(raw_ * kWidth)) {
    if (!backward) return;
    k_across_ = AllocateZeros(rows_ * kUnits);
    v_along_ = AllocateZeros(rows_ * kUnits);
    dq_ = AllocateZeros((call.tokens + kRows) * kWidth);
    dk_ = AllocateZeros(rows_ * kWidth);
    dv_ = AllocateZeros(rows_ * kWidth);
  }

  // Reads and rotates q (scaled so that 2^(q k) is the weight), k and v; pools
  // the cores; sets the gradients of keys and values to 0.
  void Read(int64_t sequence, int64_t head) {
    sequence_ = sequence;
    head_ = head;
    alignas(64) float q[kWidth], k[2 * kWidth], v[2 * kWidth];
    for (int64_t t = 0; t < call_.tokens; ++t) {
      float* token_k = k + t % 2 * kWidth;
      float* token_v = v + t % 2 * kWidth;
      ReadToken(t, q, token_k, token_v);
      if (t < cores_ * call_.group) AddToGroup(t, q, token_k, token_v);
      if (t % 2 == 1) {
        PackRows(raw_ + t - 1, k, v);
      } else if (t + 1 == call_.tokens) {
        std::fill_n(k + kWidth, kWidth, 0.0f);
        std::fill_n(v + kWidth, kWidth, 0.0f);
        PackRows(raw_ + t, k, v);
      }
    }
    for (int64_t core = 0; core < cores_; core += 2) {
      PackRows(core, &core_k_[core * kWidth], &core_v_[core * kWidth]);
    }
    if (!backward_) return;
    std::fill_n(dk_.get(), rows_ * kWidth, 0.0f);
    std::fill_n(dv_.get(), rows_ * kWidth, 0.0f);
  }

  // Hands the gradients on to the input, once dq (without 1 / sqrt(width)), dk
  // (with 1 / ln 2 too much, as q has) and dv are complete.
  void WriteGradient() {
    BackwardPool();
    T* to = static_cast<T*>(call_.qkv_gradient);
    for (int64_t t = 0; t < call_.tokens; ++t) {
      const int64_t key = (raw_ + t) * kWidth;
      Rotate(t, 1 / std::sqrt(float{kWidth}), -1, &dq_[t * kWidth], to + QkvOffset(t, 0));
      Rotate(t, kLn2, -1, &dk_[key], to + QkvOffset(t, 1));
      for (int i = 0; i < kWidth; i += kLanes) {
        Store(to + QkvOffset(t, 2) + i, Load(&dv_[key + i]));
      }
    }
  }

  int64_t raw() const { return raw_; }
  // Units along the width: [row][unit].
  const float* q_along(int64_t token) const { return &q_along_[token * kUnits]; }
  const float* k_along(int64_t row) const { return &k_along_[row * kUnits]; }
  const float* v_along(int64_t row) const { return &v_along_[row * kUnits]; }
  // Units across rows, of which `row` is even: [row / kPack][value].
  const float* k_across(int64_t row) const { return &k_across_[row * kUnits]; }
  const float* v_across(int64_t row) const { return &v_across_[row * kUnits]; }
  float* dq(int64_t token) { return &dq_[token * kWidth]; }
  float* dk(int64_t row) { return &dk_[row * kWidth]; }
  float* dv(int64_t row) { return &dv_[row * kWidth]; }

 private:
  static constexpr int kHalf = kWidth / 2;
  static constexpr int kAhead = 12;  // tokens that are fetched before their turn

  int64_t QkvOffset(int64_t token, int which) const {
    const int64_t position = sequence_ * call_.tokens + token;
    return ((position * 3 + which) * call_.heads + head_) * kWidth;
  }

  // Turns (a, b) into scale * (a cos - b sin, b cos + a sin); `way` -1 turns
  // back.
  template <typename From, typename To>
  void Rotate(int64_t token, float scale, float way, const From* in, To* out) const {
    const float* cosines = call_.cosines + (sequence_ * call_.tokens + token) * kHalf;
    const float* sines = call_.sines + (sequence_ * call_.tokens + token) * kHalf;
    for (int i = 0; i < kHalf; i += kLanes) {
      const Vec a = Load(in + i), b = Load(in + kHalf + i);
      const Vec c = scale * Load(cosines + i), s = scale * way * Load(sines + i);
      Store(out + i, a * c - b * s);
      Store(out + kHalf + i, b * c + a * s);
    }
  }

  void ReadToken(int64_t t, float* q, float* k, float* v) {
    const T* qkv = static_cast<const T*>(call_.qkv);
    for (int which = 0; which < 3; ++which) {
      const T* later = qkv + QkvOffset(std::min(t + kAhead, call_.tokens - 1), which);
      for (int i = 0; i < kWidth; i += 64 / sizeof(T)) __builtin_prefetch(later + i);
    }
    Rotate(t, kLog2E / std::sqrt(float{kWidth}), 1, qkv + QkvOffset(t, 0), q);
    Rotate(t, 1, 1, qkv + QkvOffset(t, 1), k);
    const T* values = qkv + QkvOffset(t, 2);
    for (int i = 0; i < kWidth; i += kLanes) {
      Store(v + i, Load(values + i));
      Unit::PutAlong(&q_along_[t * kUnits + i / Unit::kPack], Load(q + i));
    }
  }

  // Puts two rows of keys and values, the first of them even, into units.
  void PackRows(int64_t row, const float* k, const float* v) {
    for (int i = 0; i < kWidth; i += kLanes) {
      const Vec k0 = Load(k + i), k1 = Load(k + kWidth + i);
      const Vec v0 = Load(v + i), v1 = Load(v + kWidth + i);
      const int64_t along = row * kUnits + i / Unit::kPack, across = row * kUnits + i;
      Unit::PutAlong(&k_along_[along], k0);
      Unit::PutAlong(&k_along_[along + kUnits], k1);
      Unit::PutAcross(&v_across_[across], kWidth, v0, v1);
      if (!backward_) continue;
      Unit::PutAlong(&v_along_[along], v0);
      Unit::PutAlong(&v_along_[along + kUnits], v1);
      Unit::PutAcross(&k_across_[across], kWidth, k0, k1);
    }
  }

  // Keeps a token for the core of its group, which its last token makes.
  void AddToGroup(int64_t t, const float* q, const float* k, const float* v) {
    const int64_t group = call_.group, at = t % group;
    for (int i = 0; i < kWidth; i += kLanes) {
      Store(&group_k_[at * kWidth + i], Load(k + i));
      Store(&group_v_[at * kWidth + i], Load(v + i));
    }
    if (at + 1 == group) Pool(t / group, q);
  }

  void Pool(int64_t core, const float* q) {
    const int64_t group = call_.group;
    float* weights = &pool_[core * group];
    float largest = -1e30f, sum = 0;
    for (int64_t t = 0; t < group; ++t) {
      Vec dot = {};
      for (int i = 0; i < kWidth; i += kLanes) dot += Load(q + i) * Load(&group_k_[t * kWidth + i]);
      weights[t] = Sum(dot);
      largest = std::max(largest, weights[t]);
    }
    for (int64_t t = 0; t < group; ++t) {
      weights[t] = std::exp2(weights[t] - largest);
      sum += weights[t];
    }
    Vec k[kWidth / kLanes] = {}, v[kWidth / kLanes] = {};
    for (int64_t t = 0; t < group; ++t) {
      weights[t] /= sum;
      for (int i = 0; i < kWidth / kLanes; ++i) {
        k[i] += weights[t] * Load(&group_k_[t * kWidth + i * kLanes]);
        v[i] += weights[t] * Load(&group_v_[t * kWidth + i * kLanes]);
      }
    }
    for (int i = 0; i < kWidth / kLanes; ++i) {
      Store(&core_k_[core * kWidth + i * kLanes], k[i]);
      Store(&core_v_[core * kWidth + i * kLanes], v[i]);
    }
  }

  // Carries the gradients of the cores to the tokens they were pooled from.
  void BackwardPool() {
    const int64_t group = call_.group;
    float* const dweights = group_v_.get();  // read no more
    for (int64_t core = 0; core < cores_; ++core) {
      const int64_t first = core * group, last = first + group - 1;
      const float* weights = &pool_[first];
      float mean = 0;
      for (int64_t t = 0; t < group; ++t) {
        dweights[t] = PoolGradient(core, raw_ + first + t);
        mean += weights[t] * dweights[t];
      }
      for (int64_t t = 0; t < group; ++t) {
        const float weight = weights[t], dscore = weight * (dweights[t] - mean);
        const int64_t row = raw_ + first + t;
        for (int i = 0; i < kWidth; i += kLanes) {
          const Vec q = Unit::GetAlong(q_along(last) + i / Unit::kPack);
          const Vec k = Unit::GetAlong(k_along(row) + i / Unit::kPack);
          Store(dk(row) + i, Load(dk(row) + i) + weight * Load(dk(core) + i) + dscore * q);
          Store(dv(row) + i, Load(dv(row) + i) + weight * Load(dv(core) + i));
          Store(dq(last) + i, Load(dq(last) + i) + dscore * k);
        }
      }
    }
  }

  // The gradient of the weight with which `core` takes the token of `row`.
  float PoolGradient(int64_t core, int64_t row) {
    Vec by_k = {}, by_v = {};
    for (int i = 0; i < kWidth; i += kLanes) {
      by_k += Load(dk(core) + i) * Unit::GetAlong(k_along(row) + i / Unit::kPack);
      by_v += Load(dv(core) + i) * Unit::GetAlong(v_along(row) + i / Unit::kPack);
    }
    return kLn2 * Sum(by_k) + Sum(by_v);
  }

  const AttentionCall& call_;
  const bool backward_;
  const int64_t cores_, raw_, rows_;
  const Buffer q_along_, k_along_, v_across_;
  const Buffer pool_;               // the weight of each token in its core
  const Buffer group_k_, group_v_;  // the group that is being read, f32
  const Buffer core_k_, core_v_;    // f32
  Buffer k_across_, v_along_, dq_, dk_, dv_;
  int64_t sequence_ = 0, head_ = 0;
};

#endif  // LONGLEAF_MODEL_DEMO_TRAINING_ROTATED_HEAD_H_
