// The matrix loops of attention over one key tile, compiled once per instruction set: scores, and
// weighted values. The softmax between them is in cca_attention_softmax-inl.h.
#if defined(LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_
#undef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_
#else
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_
#endif

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_block.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::CappedTag<float, kMaxLanes>;
using V = hn::Vec<D>;

// Register blocking: kTileRows query rows by kTileVectors vectors of keys or of value columns.
// 6 x 4 fills the 32 registers of AVX-512 and NEON, 6 x 2 the 16 of AVX2 and SSE4.
inline constexpr int64_t kTileRows = 6;
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM
inline constexpr int kTileVectors = 4;
#else
inline constexpr int kTileVectors = 2;
#endif

// What will be read after the matrix at hand, a piece of which is asked for every `every` steps:
// the parts of a block's rows, which read one matrix one after another, ask for all of the next
// between them, so that memory and arithmetic overlap evenly. Decoding reads each page once, in
// runs too short for the hardware's own prefetcher to get far ahead.
struct Ahead {
  const std::byte* next = nullptr;  // null: nothing
  int64_t every = 1;
  int64_t first() const { return next == nullptr ? std::numeric_limits<int64_t>::max() : 1; }
};

// Asks for as many bytes as NV vectors have, to be read soon.
template <int NV>
HWY_INLINE void Ask(Ahead& ahead, int64_t& due) {
  if (--due != 0) return;
  due = ahead.every;
  const D df;
  constexpr size_t kLine = 64;
  for (size_t at = 0; at < NV * hn::Lanes(df) * sizeof(float); at += kLine) {
    __builtin_prefetch(ahead.next + at, /*rw=*/0, /*locality=*/3);
  }
  ahead.next += NV * hn::Lanes(df) * sizeof(float);
}

// ---- scores: s[r, j] = sum_i q[r, i] * k[i, j], for R rows and NV vectors of keys
template <int R, int NV>
HWY_INLINE void ScoreTile(const float* HWY_RESTRICT q,  // [R, d]
                          int64_t d,
                          const float* HWY_RESTRICT k,  // [d, kPageTokens], at its first column
                          Ahead& to_ask,
                          float* HWY_RESTRICT s) {  // [R, kPageTokens], at its first column
  const D df;
  const size_t lanes = hn::Lanes(df);
  V sum[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) sum[r][v] = hn::Zero(df);
  }
  Ahead ahead = to_ask;
  int64_t due = ahead.first();
  for (int64_t i = 0; i < d; ++i, k += kPageTokens) {
    V key[NV];
    for (int v = 0; v < NV; ++v) key[v] = hn::LoadU(df, k + v * lanes);
    Ask<NV>(ahead, due);
    for (int r = 0; r < R; ++r) {
      const V query = hn::Set(df, q[r * d + i]);
      for (int v = 0; v < NV; ++v) sum[r][v] = hn::MulAdd(query, key[v], sum[r][v]);
    }
  }
  to_ask = ahead;
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < NV; ++v) hn::Store(sum[r][v], df, s + r * kPageTokens + v * lanes);
  }
}

// ---- values: o[r, c] += sum_j p[r, j] * v[j, c], for R rows, NV vectors of columns, keys j0..j1-1
template <int R, int NV>
HWY_INLINE void ValueTile(const float* HWY_RESTRICT p,  // [R, kPageTokens]
                          int64_t j0, int64_t j1,
                          const float* HWY_RESTRICT v,  // [kPageTokens, stride], at a column
                          int64_t stride, Ahead& to_ask,
                          float* HWY_RESTRICT o,  // [R, padded d], at its first column
                          int64_t o_stride) {
  const D df;
  const size_t lanes = hn::Lanes(df);
  V sum[R][NV];
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < NV; ++c) sum[r][c] = hn::Load(df, o + r * o_stride + c * lanes);
  }
  v += j0 * stride;
  Ahead ahead = to_ask;
  int64_t due = ahead.first();
  for (int64_t j = j0; j < j1; ++j, v += stride) {
    V value[NV];
    for (int c = 0; c < NV; ++c) value[c] = hn::LoadU(df, v + c * lanes);
    Ask<NV>(ahead, due);
    for (int r = 0; r < R; ++r) {
      const V weight = hn::Set(df, p[r * kPageTokens + j]);
      for (int c = 0; c < NV; ++c) sum[r][c] = hn::MulAdd(weight, value[c], sum[r][c]);
    }
  }
  to_ask = ahead;
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < NV; ++c) hn::Store(sum[r][c], df, o + r * o_stride + c * lanes);
  }
}

// The first `columns` floats at `from`, then zeros. Reads no further: a value row may end its page.
HWY_INLINE V LoadColumns(const float* from, int64_t columns) {
  const D df;
#if HWY_MEM_OPS_MIGHT_FAULT
  alignas(64) float row[kMaxLanes] = {};
  for (int64_t c = 0; c < columns; ++c) row[c] = from[c];
  return hn::Load(df, row);
#else
  return hn::MaskedLoad(hn::FirstN(df, static_cast<size_t>(columns)), df, from);
#endif
}

// The columns after the last whole vector.
template <int R>
HWY_INLINE void ValueTail(const float* HWY_RESTRICT p, int64_t j0, int64_t j1,
                          const float* HWY_RESTRICT v, int64_t stride, int64_t columns,
                          float* HWY_RESTRICT o, int64_t o_stride) {
  const D df;
  V sum[R];
  for (int r = 0; r < R; ++r) sum[r] = hn::Load(df, o + r * o_stride);
  v += j0 * stride;
  for (int64_t j = j0; j < j1; ++j, v += stride) {
    const V value = LoadColumns(v, columns);
    for (int r = 0; r < R; ++r) {
      sum[r] = hn::MulAdd(hn::Set(df, p[r * kPageTokens + j]), value, sum[r]);
    }
  }
  for (int r = 0; r < R; ++r) hn::Store(sum[r], df, o + r * o_stride);
}

// Keys j0 .. j1 - 1 of the tile for R rows, widened to whole vectors.
template <int R>
HWY_NOINLINE void ScoreRows(const float* q, int64_t d, const float* k, Ahead& ahead, int64_t j0,
                            int64_t j1, float* s) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  int64_t j = j0 / lanes * lanes;
  for (; j + (kTileVectors - 1) * lanes < j1; j += kTileVectors * lanes) {
    ScoreTile<R, kTileVectors>(q, d, k + j, ahead, s + j);
  }
  if (kTileVectors > 2 && j + lanes < j1) {
    ScoreTile<R, 2>(q, d, k + j, ahead, s + j);
    j += 2 * lanes;
  }
  if (j < j1) ScoreTile<R, 1>(q, d, k + j, ahead, s + j);
}

template <int R>
HWY_NOINLINE void ValueRows(const float* p, int64_t j0, int64_t j1, const float* v, int64_t stride,
                            Ahead& ahead, int64_t d, float* o, int64_t o_stride) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  int64_t c = 0;
  for (; c + kTileVectors * lanes <= d; c += kTileVectors * lanes) {
    ValueTile<R, kTileVectors>(p, j0, j1, v + c, stride, ahead, o + c, o_stride);
  }
  if (kTileVectors > 2 && c + 2 * lanes <= d) {
    ValueTile<R, 2>(p, j0, j1, v + c, stride, ahead, o + c, o_stride);
    c += 2 * lanes;
  }
  if (c + lanes <= d) {
    ValueTile<R, 1>(p, j0, j1, v + c, stride, ahead, o + c, o_stride);
    c += lanes;
  }
  if (c < d) ValueTail<R>(p, j0, j1, v + c, stride, d - c, o + c, o_stride);
}

// Calls `run` with a constant equal to `rows`, which is 1..kMost.
template <int kMost, typename Run>
HWY_INLINE void WithRows(int64_t rows, const Run& run) {
  if constexpr (kMost > 1) {
    if (rows < kMost) return WithRows<kMost - 1>(rows, run);
  }
  run(std::integral_constant<int, kMost>());
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_TILE_INL_H_
