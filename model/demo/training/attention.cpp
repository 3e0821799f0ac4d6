// CCA attention of training sequences, forward and backward: a document followed by question
// branches. Rows are taken in blocks of 32, each against only the keys that one of them sees.
// Scores lie [key][row], a vector being 16 (or 8) rows, so that masks and the softmax go lane by
// lane and keys and values are read as they are stored. All arithmetic is in f32.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "vector.h"

namespace {

constexpr int kRows = 32;  // query rows of a block
constexpr int kRowVectors = kRows / kLanes;
constexpr int kChunk = 64;       // keys taken at a time
constexpr int kKeyMultiple = 8;  // keys are computed in multiples of this
constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;
constexpr float kHidden = -1e30f;     // the score of a key that a row does not see
constexpr float kNoMaximum = -1e20f;  // above kHidden, so that hidden keys never weigh 1

constexpr int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<float[], Free>;

Buffer Allocate(int64_t floats) {
  return Buffer(static_cast<float*>(std::aligned_alloc(64, RoundUp(floats * 4, 64))));
}

}  // namespace

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

namespace {

// A range of keys that a block visits: cores, or raw tokens. Row r sees low[r] <= key < high[r].
struct Segment {
  int64_t base;  // where key 0 lies among the rows of the key buffer
  int64_t first, last;
  int32_t low_max, high_min;
  alignas(64) int32_t low[kRows], high[kRows];
};

struct Block {
  int64_t first, rows;
  int segments;
  Segment segment[3];
};

// One head of one sequence, worked on by one thread. Keys and values: the cores, then the tokens.
template <typename T, int kWidth>
class Head {
 public:
  explicit Head(const AttentionCall& call, bool backward)
      : call_(call),
        cores_(call.group > 0 ? call.document / call.group : 0),
        raw_(RoundUp(cores_, kKeyMultiple)),
        key_rows_(raw_ + call.tokens + kKeyMultiple),
        q_(Allocate((call.tokens + kRows) * kWidth)),
        k_(Allocate(key_rows_ * kWidth)),
        v_(Allocate(key_rows_ * kWidth)),
        pool_(Allocate(call.tokens + call.group + kLanes)) {
    if (backward) {
      dq_ = Allocate((call.tokens + kRows) * kWidth);
      dk_ = Allocate(key_rows_ * kWidth);
      dv_ = Allocate(key_rows_ * kWidth);
    }
    std::fill_n(q_.get(), (call.tokens + kRows) * kWidth, 0.0f);
    std::fill_n(k_.get(), key_rows_ * kWidth, 0.0f);
    std::fill_n(v_.get(), key_rows_ * kWidth, 0.0f);
  }

  void Forward(int64_t sequence, int64_t head) {
    Prepare(sequence, head);
    ForEachBlock([&](const Block& block) { ForwardBlock(block); });
  }

  void Backward(int64_t sequence, int64_t head) {
    Prepare(sequence, head);
    std::fill_n(dk_.get(), key_rows_ * kWidth, 0.0f);
    std::fill_n(dv_.get(), key_rows_ * kWidth, 0.0f);
    ForEachBlock([&](const Block& block) { BackwardBlock(block); });
    BackwardPool();
    WriteGradient();
  }

 private:
  static constexpr int kHalf = kWidth / 2;

  int64_t Position(int64_t token) const { return sequence_ * call_.tokens + token; }
  int64_t QkvOffset(int64_t token, int which) const {
    return ((Position(token) * 3 + which) * call_.heads + head_) * kWidth;
  }
  int64_t OutOffset(int64_t token) const {
    return (Position(token) * call_.heads + head_) * kWidth;
  }

  // Turns (a, b) into scale * (a cos - b sin, b cos + a sin); `way` -1 turns back.
  template <typename From, typename To>
  void Rotate(int64_t token, float scale, float way, const From* in, To* out) const {
    const float* cosines = call_.cosines + Position(token) * kHalf;
    const float* sines = call_.sines + Position(token) * kHalf;
    for (int i = 0; i < kHalf; i += kLanes) {
      const Vec a = Load(in + i), b = Load(in + kHalf + i);
      const Vec c = scale * Load(cosines + i), s = scale * way * Load(sines + i);
      Store(out + i, a * c - b * s);
      Store(out + kHalf + i, b * c + a * s);
    }
  }

  // Reads and rotates q (scaled so that 2^(q k) is the weight), k and v; pools the cores.
  void Prepare(int64_t sequence, int64_t head) {
    sequence_ = sequence;
    head_ = head;
    const T* qkv = static_cast<const T*>(call_.qkv);
    for (int64_t t = 0; t < call_.tokens; ++t) {
      const int64_t key = (raw_ + t) * kWidth;
      Rotate(t, kLog2E / std::sqrt(float{kWidth}), 1, qkv + QkvOffset(t, 0), &q_[t * kWidth]);
      Rotate(t, 1, 1, qkv + QkvOffset(t, 1), &k_[key]);
      const T* v = qkv + QkvOffset(t, 2);
      for (int i = 0; i < kWidth; i += kLanes) Store(&v_[key + i], Load(v + i));
    }
    for (int64_t core = 0; core < cores_; ++core) Pool(core);
  }

  void Pool(int64_t core) {
    const int64_t group = call_.group, first = core * group;
    const float* q = &q_[(first + group - 1) * kWidth];
    const float* k = &k_[(raw_ + first) * kWidth];
    const float* v = &v_[(raw_ + first) * kWidth];
    float* weights = &pool_[first];
    float largest = kNoMaximum, sum = 0;
    for (int64_t t = 0; t < group; ++t) {
      Vec dot = {};
      for (int i = 0; i < kWidth; i += kLanes) dot += Load(q + i) * Load(k + t * kWidth + i);
      weights[t] = Sum(dot);
      largest = std::max(largest, weights[t]);
    }
    for (int64_t t = 0; t < group; ++t) {
      weights[t] = std::exp2(weights[t] - largest);
      sum += weights[t];
    }
    Vec core_k[kWidth / kLanes] = {}, core_v[kWidth / kLanes] = {};
    for (int64_t t = 0; t < group; ++t) {
      weights[t] /= sum;
      for (int i = 0; i < kWidth / kLanes; ++i) {
        core_k[i] += weights[t] * Load(k + t * kWidth + i * kLanes);
        core_v[i] += weights[t] * Load(v + t * kWidth + i * kLanes);
      }
    }
    for (int i = 0; i < kWidth / kLanes; ++i) {
      Store(&k_[core * kWidth + i * kLanes], core_k[i]);
      Store(&v_[core * kWidth + i * kLanes], core_v[i]);
    }
  }

  // Blocks do not straddle the end of the document.
  template <typename Work>
  void ForEachBlock(const Work& work) {
    Block block;
    for (block.first = 0; block.first < call_.tokens; block.first += block.rows) {
      const bool document = block.first < call_.document;
      const int64_t end = document ? call_.document : call_.tokens;
      block.rows = std::min<int64_t>(kRows, end - block.first);
      SetSegments(document, &block);
      work(block);
    }
  }

  void SetSegments(bool document, Block* block) const {
    const int32_t* cores = call_.cores_visible + Position(block->first);
    const int32_t* starts = call_.branch_start + Position(block->first);
    const auto [fewest, most] = std::minmax_element(cores, cores + block->rows);
    const int64_t last = block->first + block->rows;
    const int64_t raw_first = *fewest * call_.group;
    const int64_t raw_last = document ? last : call_.document;
    int n = 0;
    const auto add = [&](int64_t base, int64_t first, int64_t past, auto low, auto high) {
      if (first >= past) return;
      Segment& segment = block->segment[n++];
      segment.base = base;
      segment.first = first;
      segment.last = past;
      segment.low_max = 0;
      segment.high_min = INT32_MAX;
      for (int row = 0; row < kRows; ++row) {
        const bool used = row < block->rows;
        segment.low[row] = used ? static_cast<int32_t>(low(row)) : 0;
        segment.high[row] = used ? static_cast<int32_t>(high(row)) : 0;
        if (!used) continue;
        segment.low_max = std::max(segment.low_max, segment.low[row]);
        segment.high_min = std::min(segment.high_min, segment.high[row]);
      }
    };
    const auto raw_low = [&](int row) { return cores[row] * call_.group; };
    add(
        0, 0, *most, [](int) { return 0; }, [&](int row) { return cores[row]; });
    add(raw_, raw_first, raw_last, raw_low,
        [&](int row) { return document ? block->first + row + 1 : raw_last; });
    if (!document) {
      add(
          raw_, *std::min_element(starts, starts + block->rows), last,
          [&](int row) { return starts[row]; }, [&](int row) { return block->first + row + 1; });
    }
    block->segments = n;
  }

  // Calls work(segment, first key, keys): chunks of at most kChunk keys.
  template <typename Work>
  static void ForEachChunk(const Block& block, const Work& work) {
    for (int i = 0; i < block.segments; ++i) {
      const Segment& segment = block.segment[i];
      for (int64_t key = segment.first; key < segment.last; key += kChunk) {
        work(segment, key, RoundUp(std::min<int64_t>(kChunk, segment.last - key), kKeyMultiple));
      }
    }
  }

  // Sets the scores of keys that a row does not see to kHidden.
  static void Hide(const Segment& segment, int64_t first, int64_t keys, float* scores) {
    if (segment.low_max <= first && first + keys <= segment.high_min) return;
    for (int j = 0; j < kRowVectors; ++j) {
      const IntVec low = Load(segment.low + j * kLanes), high = Load(segment.high + j * kLanes);
      for (int64_t i = 0; i < keys; ++i) {
        float* score = scores + i * kRows + j * kLanes;
        const IntVec key = AllInt(static_cast<int32_t>(first + i));
        const Vec x = Load(score);
        Store(score, ((key >= low) & (key < high)) ? x : All(kHidden));
      }
    }
  }

  void ForwardBlock(const Block& block) {
    alignas(64) float q[kWidth * kRows];  // [width][row], as is the output
    alignas(64) float out[kWidth * kRows] = {};
    alignas(64) float weights[kChunk * kRows];  // [key][row]
    Vec largest[kRowVectors], sum[kRowVectors] = {};
    for (Vec& x : largest) x = All(kNoMaximum);
    Transpose<kRows, kWidth>(&q_[block.first * kWidth], q);
    ForEachChunk(block, [&](const Segment& segment, int64_t first, int64_t keys) {
      const int64_t key = (segment.base + first) * kWidth;
      Product<kWidth, 1, kRows, false>(keys, kWidth, &k_[key], q, weights);
      Hide(segment, first, keys, weights);
      Soften(keys, weights, largest, sum, out);
      Product<1, kWidth, kRows, true>(kWidth, keys, &v_[key], weights, out);
    });
    alignas(64) float rows[kRows * kWidth];
    float* log_sums = call_.log_sums + (sequence_ * call_.heads + head_) * call_.tokens;
    alignas(64) float sums[kRows], maxima[kRows];
    for (int j = 0; j < kRowVectors; ++j) {
      Store(sums + j * kLanes, sum[j]);
      Store(maxima + j * kLanes, largest[j]);
    }
    Transpose<kWidth, kRows>(out, rows);
    for (int64_t row = 0; row < block.rows; ++row) {
      T* to = static_cast<T*>(call_.out) + OutOffset(block.first + row);
      const float scale = 1 / sums[row];
      for (int i = 0; i < kWidth; i += kLanes) Store(to + i, scale * Load(rows + row * kWidth + i));
      log_sums[block.first + row] = maxima[row] * kLn2 + std::log(sums[row]);
    }
  }

  // Turns scores into weights against the running maxima; what was summed before is brought along.
  static void Soften(int64_t keys, float* weights, Vec* largest, Vec* sum, float* out) {
    for (int j = 0; j < kRowVectors; ++j) {
      float* column = weights + j * kLanes;
      Vec most = largest[j], other = largest[j];
      for (int64_t i = 0; i < keys; i += 2) {
        most = Max(most, Load(column + i * kRows));
        other = Max(other, Load(column + (i + 1) * kRows));
      }
      most = Max(most, other);
      if (Largest(most - largest[j]) > 0) {
        const Vec shrink = Exp2(largest[j] - most);
        sum[j] *= shrink;
        for (int i = 0; i < kWidth; ++i) {
          float* x = out + i * kRows + j * kLanes;
          Store(x, shrink * Load(x));
        }
        largest[j] = most;
      }
      Vec total = {};
#pragma GCC unroll 2
      for (int64_t i = 0; i < keys; ++i) {
        const Vec weight = Exp2(Load(column + i * kRows) - most);
        Store(column + i * kRows, weight);
        total += weight;
      }
      sum[j] += total;
    }
  }

  void BackwardBlock(const Block& block) {
    alignas(64) float q[kWidth * kRows], dq[kWidth * kRows] = {};  // [width][row]
    alignas(64) float dout[kWidth * kRows], dout_rows[kRows * kWidth];
    alignas(64) float weights[kChunk * kRows], dweights[kChunk * kRows];  // [key][row]
    alignas(64) float log_sums[kRows] = {}, deltas[kRows] = {};
    Transpose<kRows, kWidth>(&q_[block.first * kWidth], q);
    ReadOutGradient(block, dout_rows, deltas);
    Transpose<kRows, kWidth>(dout_rows, dout);
    const float* saved = call_.log_sums + (sequence_ * call_.heads + head_) * call_.tokens;
    for (int64_t row = 0; row < block.rows; ++row) {
      log_sums[row] = saved[block.first + row] * kLog2E;
    }
    ForEachChunk(block, [&](const Segment& segment, int64_t first, int64_t keys) {
      const int64_t key = (segment.base + first) * kWidth;
      Product<kWidth, 1, kRows, false>(keys, kWidth, &k_[key], q, weights);
      Hide(segment, first, keys, weights);
      Product<kWidth, 1, kRows, false>(keys, kWidth, &v_[key], dout, dweights);
      for (int j = 0; j < kRowVectors; ++j) {
        const Vec log_sum = Load(log_sums + j * kLanes), delta = Load(deltas + j * kLanes);
#pragma GCC unroll 2
        for (int64_t i = 0; i < keys; ++i) {
          const int64_t at = i * kRows + j * kLanes;
          const Vec weight = Exp2(Load(weights + at) - log_sum);
          Store(weights + at, weight);
          Store(dweights + at, weight * (Load(dweights + at) - delta));
        }
      }
      Product<1, kWidth, kRows, true>(kWidth, keys, &k_[key], dweights, dq);
      Product<kRows, 1, kWidth, true>(keys, kRows, weights, dout_rows, &dv_[key]);
      Product<kRows, 1, kWidth, true>(keys, kRows, dweights, &q_[block.first * kWidth], &dk_[key]);
    });
    Transpose<kWidth, kRows>(dq, &dq_[block.first * kWidth]);
  }

  // The gradient of the output as rows (zeros past the last), and its product with the output.
  void ReadOutGradient(const Block& block, float* rows, float* deltas) const {
    for (int64_t row = 0; row < kRows; ++row) {
      Vec delta = {};
      for (int i = 0; i < kWidth; i += kLanes) {
        Vec x = {};
        if (row < block.rows) {
          const int64_t at = OutOffset(block.first + row) + i;
          x = Load(static_cast<const T*>(call_.out_gradient) + at);
          delta += x * Load(static_cast<const T*>(call_.out) + at);
        }
        Store(rows + row * kWidth + i, x);
      }
      deltas[row] = Sum(delta);
    }
  }

  // Carries the gradients of the cores to the tokens they were pooled from. q_ holds 1 / ln 2 of
  // the scaled q, and so dk_ that of the gradient until WriteGradient; dq_ lacks 1 / sqrt(width).
  void BackwardPool() {
    const int64_t group = call_.group;
    for (int64_t core = 0; core < cores_; ++core) {
      const int64_t first = core * group, last = first + group - 1;
      const float* core_dk = &dk_[core * kWidth];
      const float* core_dv = &dv_[core * kWidth];
      const float* weights = &pool_[first];
      float* dq = &dq_[last * kWidth];
      float mean = 0;
      for (int64_t t = 0; t < group; ++t) mean += weights[t] * PoolGradient(core, first + t);
      for (int64_t t = 0; t < group; ++t) {
        const float dscore = weights[t] * (PoolGradient(core, first + t) - mean);
        const int64_t key = (raw_ + first + t) * kWidth;
        for (int i = 0; i < kWidth; i += kLanes) {
          const Vec q = Load(&q_[last * kWidth + i]);
          Store(&dk_[key + i], Load(&dk_[key + i]) + weights[t] * Load(core_dk + i) + dscore * q);
          Store(&dv_[key + i], Load(&dv_[key + i]) + weights[t] * Load(core_dv + i));
          Store(dq + i, Load(dq + i) + dscore * Load(&k_[key + i]));
        }
      }
    }
  }

  // The gradient of the weight with which `core` takes `token`.
  float PoolGradient(int64_t core, int64_t token) const {
    Vec dk = {}, dv = {};
    for (int i = 0; i < kWidth; i += kLanes) {
      dk += Load(&dk_[core * kWidth + i]) * Load(&k_[(raw_ + token) * kWidth + i]);
      dv += Load(&dv_[core * kWidth + i]) * Load(&v_[(raw_ + token) * kWidth + i]);
    }
    return kLn2 * Sum(dk) + Sum(dv);
  }

  void WriteGradient() {
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

  const AttentionCall& call_;
  const int64_t cores_, raw_, key_rows_;
  const Buffer q_, k_, v_, pool_;
  Buffer dq_, dk_, dv_;
  int64_t sequence_ = 0, head_ = 0;
};

template <typename T, int kWidth>
void Run(const AttentionCall& call, bool backward, int threads) {
#pragma omp parallel num_threads(threads)
  {
    Head<T, kWidth> head(call, backward);
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < call.batch * call.heads; ++i) {
      if (backward) {
        head.Backward(i / call.heads, i % call.heads);
      } else {
        head.Forward(i / call.heads, i % call.heads);
      }
    }
  }
}

template <typename T>
bool RunWidth(const AttentionCall& call, int width, bool backward, int threads) {
  switch (width) {
    case 32:
      Run<T, 32>(call, backward, threads);
      return true;
    case 64:
      Run<T, 64>(call, backward, threads);
      return true;
    case 96:
      Run<T, 96>(call, backward, threads);
      return true;
    default:
      return false;
  }
}

}  // namespace

// Attention of the heads of `call`, or its gradient. False when no kernel has that width.
extern "C" bool longleaf_attention(const AttentionCall* call, int width, bool bf16, bool backward,
                                   int threads) {
  return bf16 ? RunWidth<Bf16>(*call, width, backward, threads)
              : RunWidth<float>(*call, width, backward, threads);
}
