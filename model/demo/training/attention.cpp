// CCA attention of training sequences, forward and backward: a document
// followed by question branches. Rows are taken in blocks of 32, each against
// only the keys that one of them sees. Scores lie [key][row], a vector being 16
// (or 8) rows, so that masks and the softmax go lane by lane and keys and
// values are read as they are stored. All but the products' factors is f32.
#include <omp.h>

#include <cmath>

#include "blocks.h"
#include "product.h"
#include "rotated_head.h"
#include "vector.h"

namespace {

constexpr int kRowVectors = kRows / kLanes;
constexpr float kHidden = -1e30f;     // the score of a key that a row does not see
constexpr float kNoMaximum = -1e20f;  // above kHidden, so that hidden keys never weigh 1

// One head of one sequence at a time, worked on by one thread.
template <typename T, int kWidth>
class Attention {
 public:
  explicit Attention(const AttentionCall& call, bool backward)
      : call_(call), backward_(backward), head_(call, backward) {}

  void Run(int64_t sequence, int64_t head) {
    out_offset_ = (sequence * call_.tokens * call_.heads + head) * kWidth;
    log_sums_ = call_.log_sums + (sequence * call_.heads + head) * call_.tokens;
    head_.Read(sequence, head);
    const Sequence seen = {call_.tokens,
                           call_.document,
                           call_.group,
                           head_.raw(),
                           call_.cores_visible + sequence * call_.tokens,
                           call_.branch_start + sequence * call_.tokens};
    if (backward_) {
      ForEachBlock(seen, [&](const Block& block) { BackwardBlock(block); });
      head_.WriteGradient();
    } else {
      ForEachBlock(seen, [&](const Block& block) { ForwardBlock(block); });
    }
  }

 private:
  using Head = RotatedHead<T, kWidth>;
  using Unit = typename Head::Unit;
  static constexpr int kUnits = Head::kUnits;
  static constexpr int kRowUnits = kRows / Unit::kPack;    // units of a block along its rows
  static constexpr int kUnitLanes = kLanes / Unit::kPack;  // units of a vector of values

  int64_t OutOffset(int64_t token) const { return out_offset_ + token * call_.heads * kWidth; }

  // The scores of a chunk, [key][row]; kHidden for keys that a row does not
  // see.
  void Score(const Segment& segment, int64_t first, int64_t keys, const float* q,
             float* scores) const {
    Product<Unit, kUnits, 1, kRows, false>(keys, kUnits, head_.k_along(segment.base + first), q,
                                           scores);
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
    alignas(64) float q[kUnits * kRows];         // [unit][row]
    alignas(64) float out[kRows * kWidth] = {};  // [row][value]
    alignas(64) float weights[kChunk * kRows];   // [key][row]
    alignas(64) float largest[kRows], sums[kRows] = {};
    std::fill_n(largest, kRows, kNoMaximum);
    Transpose<kRows, kUnits>(head_.q_along(block.first), q);
    ForEachChunk(block, [&](const Segment& segment, int64_t first, int64_t keys) {
      Score(segment, first, keys, q, weights);
      Soften(keys, weights, largest, sums, out);
      Product<Unit, 1, kRows, kWidth, true>(kRows, keys / Unit::kPack, weights,
                                            head_.v_across(segment.base + first), out);
    });
    for (int64_t row = 0; row < block.rows; ++row) {
      T* to = static_cast<T*>(call_.out) + OutOffset(block.first + row);
      const float scale = 1 / sums[row];
      for (int i = 0; i < kWidth; i += kLanes) Store(to + i, scale * Load(out + row * kWidth + i));
      log_sums_[block.first + row] = largest[row] * kLn2 + std::log(sums[row]);
    }
  }

  // Turns scores into weights against the running maxima, in units across keys;
  // what was summed before is brought along.
  static void Soften(int64_t keys, float* weights, float* largest, float* sums, float* out) {
    for (int j = 0; j < kRowVectors; ++j) {
      float* column = weights + j * kLanes;
      const Vec before = Load(largest + j * kLanes);
      Vec most = before, other = before;
      for (int64_t i = 0; i < keys; i += 2) {
        most = Max(most, Load(column + i * kRows));
        other = Max(other, Load(column + (i + 1) * kRows));
      }
      most = Max(most, other);
      Vec sum = Load(sums + j * kLanes);
      if (Largest(most - before) > 0) {
        alignas(64) float shrink[kLanes];
        Store(shrink, Exp2(before - most));
        sum *= Load(shrink);
        for (int row = 0; row < kLanes; ++row) {
          float* x = out + (j * kLanes + row) * kWidth;
          for (int i = 0; i < kWidth; i += kLanes) Store(x + i, shrink[row] * Load(x + i));
        }
        Store(largest + j * kLanes, most);
      }
      for (int64_t i = 0; i < keys; i += 2) {
        const Vec a = Exp2(Load(column + i * kRows) - most);
        const Vec b = Exp2(Load(column + (i + 1) * kRows) - most);
        Unit::PutAcross(column + i / Unit::kPack * kRows, kRows, a, b);
        sum += a + b;
      }
      Store(sums + j * kLanes, sum);
    }
  }

  // The gradients of the weights are taken from those of the scores: weight *
  // (dweight - delta).
  void BackwardBlock(const Block& block) {
    alignas(64) float q[kUnits * kRows],
        q_across[kRows * kUnits];  // [unit][row], [unit][value]
    alignas(64) float dout[kUnits * kRows], dout_across[kRows * kUnits];
    alignas(64) float dout_along[kRows * kUnits];
    alignas(64) float weights[kChunk * kRows],
        weights_along[kChunk * kRowUnits];  // [key][row]
    alignas(64) float dscores[kChunk * kRows], dscores_along[kChunk * kRowUnits];
    alignas(64) float log_sums[kRows], deltas[kRows];
    Transpose<kRows, kUnits>(head_.q_along(block.first), q);
    PackAcross(head_.q_along(block.first), q_across);
    ReadOutGradient(block, dout_along, deltas);
    Transpose<kRows, kUnits>(dout_along, dout);
    PackAcross(dout_along, dout_across);
    for (int64_t row = 0; row < kRows; ++row) {  // rows past the last weigh nothing
      log_sums[row] = row < block.rows ? log_sums_[block.first + row] * kLog2E : -kHidden;
    }
    float* dq = head_.dq(block.first);
    std::fill_n(dq, kRows * kWidth, 0.0f);
    ForEachChunk(block, [&](const Segment& segment, int64_t first, int64_t keys) {
      const int64_t row = segment.base + first;
      Score(segment, first, keys, q, weights);
      Product<Unit, kUnits, 1, kRows, false>(keys, kUnits, head_.v_along(row), dout, dscores);
      for (int j = 0; j < kRowVectors; ++j) {
        const Vec log_sum = Load(log_sums + j * kLanes), delta = Load(deltas + j * kLanes);
        for (int64_t i = 0; i < keys; i += 2) {
          const float *w = weights + i * kRows + j * kLanes, *d = dscores + i * kRows + j * kLanes;
          const Vec w0 = Exp2(Load(w) - log_sum), w1 = Exp2(Load(w + kRows) - log_sum);
          const Vec d0 = w0 * (Load(d) - delta), d1 = w1 * (Load(d + kRows) - delta);
          const int64_t along = i * kRowUnits + j * kUnitLanes;
          Unit::PutAlong(weights_along + along, w0);
          Unit::PutAlong(weights_along + along + kRowUnits, w1);
          Unit::PutAlong(dscores_along + along, d0);
          Unit::PutAlong(dscores_along + along + kRowUnits, d1);
          Unit::PutAcross(dscores + i / Unit::kPack * kRows + j * kLanes, kRows, d0, d1);
        }
      }
      Product<Unit, 1, kRows, kWidth, true>(kRows, keys / Unit::kPack, dscores, head_.k_across(row),
                                            dq);
      Product<Unit, kRowUnits, 1, kWidth, true>(keys, kRowUnits, weights_along, dout_across,
                                                head_.dv(row));
      Product<Unit, kRowUnits, 1, kWidth, true>(keys, kRowUnits, dscores_along, q_across,
                                                head_.dk(row));
    });
  }

  // Of a block's rows in units along their width, the units across rows.
  static void PackAcross(const float* along, float* across) {
    for (int row = 0; row < kRows; row += 2) {
      for (int i = 0; i < kWidth; i += kLanes) {
        const float* unit = along + row * kUnits + i / Unit::kPack;
        Unit::PutAcross(across + row * kUnits + i, kWidth, Unit::GetAlong(unit),
                        Unit::GetAlong(unit + kUnits));
      }
    }
  }

  // The gradient of the output (zeros past the last row), and its product with
  // the output.
  void ReadOutGradient(const Block& block, float* along, float* deltas) const {
    const T* out = static_cast<const T*>(call_.out);
    const T* gradient = static_cast<const T*>(call_.out_gradient);
    for (int64_t row = 0; row < kRows; ++row) {
      const int64_t at = OutOffset(block.first + row);
      Vec delta = {};
      for (int i = 0; i < kWidth; i += kLanes) {
        Vec x = {};
        if (row < block.rows) {
          x = Load(gradient + at + i);
          delta += x * Load(out + at + i);
        }
        Unit::PutAlong(along + row * kUnits + i / Unit::kPack, x);
      }
      deltas[row] = Sum(delta);
    }
  }

  const AttentionCall& call_;
  const bool backward_;
  RotatedHead<T, kWidth> head_;
  int64_t out_offset_ = 0;  // of this head's first row
  float* log_sums_ = nullptr;
};

template <typename T, int kWidth>
void Run(const AttentionCall& call, bool backward, int threads) {
#pragma omp parallel num_threads(threads)
  {
    Attention<T, kWidth> attention(call, backward);
#pragma omp for schedule(dynamic, 1)
    for (int64_t i = 0; i < call.batch * call.heads; ++i) {
      attention.Run(i / call.heads, i % call.heads);
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

// Attention of the heads of `call`, or its gradient. False when no kernel has
// that width.
extern "C" bool longleaf_attention(const AttentionCall* call, int width, bool bf16, bool backward,
                                   int threads) {
  return bf16 ? RunWidth<Bf16>(*call, width, backward, threads)
              : RunWidth<float>(*call, width, backward, threads);
}
