// CCA attention of training sequences, forward and backward: a document followed by question
// branches. Rows are taken in blocks of 32, each against only the keys that one of them sees.
// Scores lie [key][row], a vector being 16 (or 8) rows, so that masks and the softmax go lane by
// lane and keys and values are read as they are stored. With bf16 input the factors of the products
// are rounded to bf16 where the processor multiplies these; all else is in f32.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include "blocks.h"
#include "product.h"
#include "vector.h"

namespace {

constexpr int kRowVectors = kRows / kLanes;
constexpr float kLog2E = 1.44269504f, kLn2 = 0.693147181f;
constexpr float kHidden = -1e30f;     // the score of a key that a row does not see
constexpr float kNoMaximum = -1e20f;  // above kHidden, so that hidden keys never weigh 1

struct Free {
  void operator()(float* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<float[], Free>;

Buffer AllocateZeros(int64_t floats) {
  const size_t bytes = RoundUp(floats * sizeof(float), 64);
  float* p = static_cast<float*>(std::aligned_alloc(64, bytes));
  std::memset(p, 0, bytes);
  return Buffer(p);
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

// One head of one sequence, worked on by one thread. Keys and values: the cores, then the tokens.
template <typename T, int kWidth>
class Head {
 public:
  explicit Head(const AttentionCall& call, bool backward)
      : call_(call),
        backward_(backward),
        cores_(call.group > 0 ? call.document / call.group : 0),
        raw_(RoundUp(cores_, kKeyMultiple)),
        key_rows_(raw_ + RoundUp(call.tokens, 2) + kKeyMultiple),
        q_(AllocateZeros((call.tokens + kRows) * kWidth)),
        k_(AllocateZeros(key_rows_ * kWidth)),
        v_(AllocateZeros(key_rows_ * kWidth)),
        k_along_(AllocateZeros(key_rows_ * kUnits)),
        v_across_(AllocateZeros(key_rows_ * kUnits)),
        pool_(AllocateZeros(call.tokens + call.group)) {
    if (!backward) return;
    k_across_ = AllocateZeros(key_rows_ * kUnits);
    v_along_ = AllocateZeros(key_rows_ * kUnits);
    dq_ = AllocateZeros((call.tokens + kRows) * kWidth);
    dk_ = AllocateZeros(key_rows_ * kWidth);
    dv_ = AllocateZeros(key_rows_ * kWidth);
  }

  void Run(int64_t sequence, int64_t head) {
    sequence_ = sequence;
    head_ = head;
    Prepare();
    const Sequence seen = {call_.tokens,
                           call_.document,
                           call_.group,
                           raw_,
                           call_.cores_visible + Position(0),
                           call_.branch_start + Position(0)};
    if (!backward_) {
      ForEachBlock(seen, [&](const Block& block) { ForwardBlock(block); });
      return;
    }
    std::fill_n(dk_.get(), key_rows_ * kWidth, 0.0f);
    std::fill_n(dv_.get(), key_rows_ * kWidth, 0.0f);
    ForEachBlock(seen, [&](const Block& block) { BackwardBlock(block); });
    BackwardPool();
    WriteGradient();
  }

 private:
  using Unit = std::conditional_t<std::is_same_v<T, Bf16>, Pair, Single>;
  static constexpr int kHalf = kWidth / 2;
  static constexpr int kUnits = kWidth / Unit::kPack;      // units of a key along its width
  static constexpr int kRowUnits = kRows / Unit::kPack;    // units of a block along its rows
  static constexpr int kUnitLanes = kLanes / Unit::kPack;  // units of a vector of values

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
  void Prepare() {
    const T* qkv = static_cast<const T*>(call_.qkv);
    for (int64_t t = 0; t < call_.tokens; ++t) {
      const int64_t key = (raw_ + t) * kWidth;
      Rotate(t, kLog2E / std::sqrt(float{kWidth}), 1, qkv + QkvOffset(t, 0), &q_[t * kWidth]);
      Rotate(t, 1, 1, qkv + QkvOffset(t, 1), &k_[key]);
      const T* v = qkv + QkvOffset(t, 2);
      for (int i = 0; i < kWidth; i += kLanes) Store(&v_[key + i], Load(v + i));
      if (t % 2 == 1 || t + 1 == call_.tokens) PackKeys(raw_ + t - t % 2);
    }
    for (int64_t core = 0; core < cores_; ++core) {
      Pool(core);
      if (core % 2 == 1 || core + 1 == cores_) PackKeys(core - core % 2);
    }
  }

  // Puts the keys and values of two rows, the first of them even, into units.
  void PackKeys(int64_t row) {
    for (int i = 0; i < kWidth; i += kLanes) {
      const int64_t at = row * kWidth + i;
      const Vec k0 = Load(&k_[at]), k1 = Load(&k_[at + kWidth]);
      const Vec v0 = Load(&v_[at]), v1 = Load(&v_[at + kWidth]);
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

  // Puts a block's rows into units along the width, transposed: [width][row].
  static void PackAlong(const float* rows, float* along) {
    alignas(64) float units[kRows * kUnits];
    for (int row = 0; row < kRows; ++row) {
      for (int i = 0; i < kWidth; i += kLanes) {
        Unit::PutAlong(units + row * kUnits + i / Unit::kPack, Load(rows + row * kWidth + i));
      }
    }
    Transpose<kRows, kUnits>(units, along);
  }

  // Puts a block's rows into units across rows: [row][width].
  static void PackAcross(const float* rows, float* across) {
    for (int row = 0; row < kRows; row += 2) {
      for (int i = 0; i < kWidth; i += kLanes) {
        Unit::PutAcross(across + row * kUnits + i, kWidth, Load(rows + row * kWidth + i),
                        Load(rows + (row + 1) * kWidth + i));
      }
    }
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

  // The scores of a chunk, [key][row].
  void Score(const Segment& segment, int64_t first, int64_t keys, const float* q, float* scores) {
    const float* k = &k_along_[(segment.base + first) * kUnits];
    Product<Unit, kUnits, 1, kRows, false>(keys, kUnits, k, q, scores);
    Hide(segment, first, keys, scores);
  }

  void ForwardBlock(const Block& block) {
    alignas(64) float q[kUnits * kRows];         // [width][row]
    alignas(64) float out[kWidth * kRows] = {};  // [width][row]
    alignas(64) float weights[kChunk * kRows];   // [key][row]
    Vec largest[kRowVectors], sum[kRowVectors] = {};
    for (Vec& x : largest) x = All(kNoMaximum);
    PackAlong(&q_[block.first * kWidth], q);
    ForEachChunk(block, [&](const Segment& segment, int64_t first, int64_t keys) {
      Score(segment, first, keys, q, weights);
      Soften(keys, weights, largest, sum, out);
      const float* v = &v_across_[(segment.base + first) * kUnits];
      Product<Unit, 1, kWidth, kRows, true>(kWidth, keys / Unit::kPack, v, weights, out);
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

  // Turns scores into weights against the running maxima, in units across keys; what was summed
  // before is brought along.
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
      for (int64_t i = 0; i < keys; i += 2) {
        const Vec a = Exp2(Load(column + i * kRows) - most);
        const Vec b = Exp2(Load(column + (i + 1) * kRows) - most);
        Unit::PutAcross(column + i / Unit::kPack * kRows, kRows, a, b);
        total += a + b;
      }
      sum[j] += total;
    }
  }

  void BackwardBlock(const Block& block) {
    alignas(64) float q[kUnits * kRows], q_across[kRows * kUnits];  // [width][row], [row][width]
    alignas(64) float dout[kUnits * kRows], dout_across[kRows * kUnits];
    alignas(64) float dq[kWidth * kRows] = {}, rows[kRows * kWidth];
    alignas(64) float weights[kChunk * kRows], weights_along[kChunk * kRowUnits];  // [key][row]
    alignas(64) float dweights[kChunk * kRows], dweights_along[kChunk * kRowUnits];
    alignas(64) float log_sums[kRows], deltas[kRows];
    PackAlong(&q_[block.first * kWidth], q);
    PackAcross(&q_[block.first * kWidth], q_across);
    ReadOutGradient(block, rows, deltas);
    PackAlong(rows, dout);
    PackAcross(rows, dout_across);
    const float* saved = call_.log_sums + (sequence_ * call_.heads + head_) * call_.tokens;
    for (int64_t row = 0; row < kRows; ++row) {  // rows past the last weigh nothing
      log_sums[row] = row < block.rows ? saved[block.first + row] * kLog2E : -kHidden;
    }
    ForEachChunk(block, [&](const Segment& segment, int64_t first, int64_t keys) {
      const int64_t row = segment.base + first;
      Score(segment, first, keys, q, weights);
      Product<Unit, kUnits, 1, kRows, false>(keys, kUnits, &v_along_[row * kUnits], dout, dweights);
      for (int j = 0; j < kRowVectors; ++j) {
        const Vec log_sum = Load(log_sums + j * kLanes), delta = Load(deltas + j * kLanes);
        for (int64_t i = 0; i < keys; i += 2) {
          const float *w = weights + i * kRows + j * kLanes, *d = dweights + i * kRows + j * kLanes;
          const Vec w0 = Exp2(Load(w) - log_sum), w1 = Exp2(Load(w + kRows) - log_sum);
          const Vec d0 = w0 * (Load(d) - delta), d1 = w1 * (Load(d + kRows) - delta);
          const int64_t along = i * kRowUnits + j * kUnitLanes;
          Unit::PutAlong(weights_along + along, w0);
          Unit::PutAlong(weights_along + along + kRowUnits, w1);
          Unit::PutAlong(dweights_along + along, d0);
          Unit::PutAlong(dweights_along + along + kRowUnits, d1);
          Unit::PutAcross(dweights + i / Unit::kPack * kRows + j * kLanes, kRows, d0, d1);
        }
      }
      Product<Unit, 1, kWidth, kRows, true>(kWidth, keys / Unit::kPack, &k_across_[row * kUnits],
                                            dweights, dq);
      Product<Unit, kRowUnits, 1, kWidth, true>(keys, kRowUnits, weights_along, dout_across,
                                                &dv_[row * kWidth]);
      Product<Unit, kRowUnits, 1, kWidth, true>(keys, kRowUnits, dweights_along, q_across,
                                                &dk_[row * kWidth]);
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
  const bool backward_;
  const int64_t cores_, raw_, key_rows_;
  // Rotated, f32, [row][width]; then in units along the width, and across keys.
  const Buffer q_, k_, v_, k_along_, v_across_;
  const Buffer pool_;  // the weight of each token in its core
  Buffer k_across_, v_along_, dq_, dk_, dv_;
  int64_t sequence_ = 0, head_ = 0;
};

template <typename T, int kWidth>
void Run(const AttentionCall& call, bool backward, int threads) {
#pragma omp parallel num_threads(threads)
  {
    Head<T, kWidth> head(call, backward);
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < call.batch * call.heads; ++i) {
      head.Run(i / call.heads, i % call.heads);
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
