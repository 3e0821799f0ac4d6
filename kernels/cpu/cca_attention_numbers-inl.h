// The numbers that attention computes with, compiled once per instruction set:
// f32 for pages of any type, and bf16 or i8 for pages of that type where the
// processor multiplies such numbers. Each brings what a block needs: queries,
// weights and tiles as its matrix loops take them.
#if defined(LONGLEAF_KERNELS_CPU_CCA_ATTENTION_NUMBERS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_NUMBERS_INL_H_
#undef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_NUMBERS_INL_H_
#else
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_NUMBERS_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_block.h"
#include "kernels/cpu/cca_attention_bytes-inl.h"
#include "kernels/cpu/cca_attention_expand-inl.h"
#include "kernels/cpu/cca_attention_pairs-inl.h"
#include "kernels/cpu/cca_attention_softmax-inl.h"
#include "kernels/cpu/cca_attention_tile-inl.h"
#include "kernels/cpu/page.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

// One head of one page.
struct PageHead {
  const std::byte* page = nullptr;
  PageLayout layout;
  int64_t head = 0;

  const std::byte* keys() const { return page + layout.keys(head); }
  const std::byte* values() const { return page + layout.values(head); }
  // Of i8 alone.
  const float* key_scales() const {
    return reinterpret_cast<const float*>(page + layout.key_scales(head));
  }
  const float* value_scales() const {
    return reinterpret_cast<const float*>(page + layout.value_scales(head));
  }
};

// Everything in f32. Pages of other types are expanded tile by tile.
struct FloatNumbers {
  using Query = float;   // [rows, d]
  using Weight = float;  // [rows, kWeightStride]
  static constexpr int64_t kWeightStride = kPageTokens;
  static constexpr int64_t kRows = kTileRows;
  // Weights take the place of scores.
  static constexpr bool kInPlace = true;

  struct Tile {
    const float* keys = nullptr;    // [d, kPageTokens]
    const float* values = nullptr;  // [kPageTokens, stride]
    int64_t stride = 0;
  };
  struct Expanded {
    alignas(64) float keys[kMaxHeadDim * kPageTokens];
    alignas(64) float values[kMaxHeadDim * kPageTokens];
  };
  // Whether tiles of this type are read where they lie.
  static constexpr bool Reads(DType dtype) { return dtype == DType::kF32; }
  // The tile at `from`, of which keys lo .. hi - 1 are looked at. One that has
  // to be expanded asks meanwhile for the same head of `next_page` (or null).
  static Tile Load(const PageHead& from, const std::byte* next_page, int64_t /*lo*/, int64_t /*hi*/,
                   Expanded& expanded) {
    const int64_t d = from.layout.head_dim, stride = PaddedHeadDim(d);
    if (from.layout.dtype == DType::kF32) {
      return {reinterpret_cast<const float*>(from.keys()),
              reinterpret_cast<const float*>(from.values()), d};
    }
    const auto* keys = reinterpret_cast<const uint32_t*>(from.keys());
    const auto* values = reinterpret_cast<const uint32_t*>(from.values());
    const PageHead next{next_page == nullptr ? from.page : next_page, from.layout, from.head};
    if (from.layout.dtype == DType::kBF16) {
      ExpandToFloats<2>(keys, d / 2, kPageTokens, nullptr, nullptr, next.keys(), expanded.keys,
                        kPageTokens);
      ExpandToFloats<2>(values, kPageTokens / 2, d, nullptr, nullptr, next.values(),
                        expanded.values, stride);
    } else {
      ExpandToFloats<4>(keys, (d + 3) / 4, kPageTokens, from.key_scales(), nullptr, next.keys(),
                        expanded.keys, kPageTokens);
      ExpandToFloats<4>(values, kPageTokens / 4, d, nullptr, from.value_scales(), next.values(),
                        expanded.values, stride);
    }
    return {expanded.keys, expanded.values, stride};
  }

  static void PutQuery(const float* from, int64_t d, float scale, Query* to) {
    for (int64_t i = 0; i < d; ++i) to[i] = from[i] * scale;
  }
  static int64_t QueryStride(int64_t d) { return d; }

  // Scores of `rows` (1..kRows) queries and keys j0 .. j1-1, widened to whole
  // vectors.
  static void Score(int64_t rows, const Query* q, int64_t d, const Tile& tile, Ahead& ahead,
                    int64_t j0, int64_t j1, float* s) {
    WithRows<kRows>(rows, [&](auto r) { ScoreRows<r()>(q, d, tile.keys, ahead, j0, j1, s); });
  }
  static void Softmax(float* s, const Tile&, const RunningRow& row, Weight*) { SoftmaxRow(s, row); }
  static void SoftmaxMasked(float* s, const Tile&, int64_t j0, int64_t j1, int64_t lo, int64_t hi,
                            const RunningRow& row, Weight*) {
    SoftmaxRowMasked(s, j0, j1, lo, hi, /*adds_up=*/true, row);
  }
  // Makes weights [kPageTokens] what they are once they have been rounded.
  static void AsUsed(const Tile&, float*) {}
  static void AddValues(int64_t rows, const Weight* w, int64_t j0, int64_t j1, const Tile& tile,
                        Ahead& ahead, int64_t d, float* o, int64_t o_stride) {
    WithRows<kRows>(rows, [&](auto r) {
      ValueRows<r()>(w, j0, j1, tile.values, tile.stride, ahead, d, o, o_stride);
    });
  }
};

#if LONGLEAF_PAIRS
// For bf16 pages: queries and weights rounded to bf16, sums in f32.
struct PairNumbers {
  using Query = Pair;       // [rows, d / 2]
  using Weight = uint16_t;  // [rows, kWeightStride], bf16
  static constexpr int64_t kWeightStride = kPageTokens;
  static constexpr int64_t kRows = kPairRows;
  static constexpr bool kInPlace = false;

  struct Tile {
    const Pair* keys = nullptr;    // [d / 2, kPageTokens]
    const Pair* values = nullptr;  // [kPageTokens / 2, d]
  };
  struct Expanded {};
  static constexpr bool Reads(DType) { return true; }
  static Tile Load(const PageHead& from, const std::byte*, int64_t, int64_t, Expanded&) {
    return {reinterpret_cast<const Pair*>(from.keys()),
            reinterpret_cast<const Pair*>(from.values())};
  }
  static void PutQuery(const float* from, int64_t d, float scale, Query* to) {
    RoundQuery(from, d, scale, to);
  }
  static int64_t QueryStride(int64_t d) { return d / 2; }

  static void Score(int64_t rows, const Query* q, int64_t d, const Tile& tile, Ahead& ahead,
                    int64_t j0, int64_t j1, float* s) {
    WithRows<kRows>(rows,
                    [&](auto r) { ScorePairRows<r()>(q, d / 2, tile.keys, ahead, j0, j1, s); });
  }
  static void Softmax(float* s, const Tile&, const RunningRow& row, Weight* w) {
    SoftmaxPairs(s, row, w);
  }
  static void SoftmaxMasked(float* s, const Tile&, int64_t j0, int64_t j1, int64_t lo, int64_t hi,
                            const RunningRow& row, Weight* w) {
    SoftmaxRowMasked(s, j0, j1, lo, hi, /*adds_up=*/false, row);
    RoundWeightRow(s, row, w);
  }
  static void AsUsed(const Tile&, float* w) { RoundInPlace(w); }
  static void AddValues(int64_t rows, const Weight* w, int64_t j0, int64_t j1, const Tile& tile,
                        Ahead& ahead, int64_t d, float* o, int64_t o_stride) {
    const auto* pairs = reinterpret_cast<const Pair*>(w);
    WithRows<kRows>(rows, [&](auto r) {
      ValuePairRows<r()>(pairs, j0, j1, tile.values, d, ahead, o, o_stride);
    });
  }
};

// Whether attention of these dimensions computes with them.
inline bool UsesPairs(const AttentionDims& dims) {
  return dims.products == Products::kFastest && dims.dtype == DType::kBF16 &&
         __builtin_cpu_supports("avx512bf16") != 0;
}
#endif  // LONGLEAF_PAIRS

#if LONGLEAF_BYTES
// For i8 pages: queries and weights of 16 bits. Scales go to the scores and to
// the weights.
struct ByteNumbers {
  using Query = Quad;          // [rows, ByteQueryStride(d)]
  using Weight = ByteWeights;  // [rows]
  static constexpr int64_t kWeightStride = 1;
  static constexpr int64_t kRows = kByteRows;
  static constexpr bool kInPlace = false;

  struct Tile {
    const Quad* keys = nullptr;    // [QuadsOf(d), kPageTokens]
    const Quad* values = nullptr;  // [kQuadsOfKeys, d]
    const float* key_scales = nullptr;
    const float* value_scales = nullptr;  // finite
    float damage = 0;                     // NaN where a scale that is looked at is
  };
  struct Expanded {
    alignas(64) float scales[kPageTokens];
  };
  static constexpr bool Reads(DType) { return true; }
  static Tile Load(const PageHead& from, const std::byte* next_page, int64_t lo, int64_t hi,
                   Expanded& expanded) {
    if (next_page != nullptr) {
      const PageHead next{next_page, from.layout, from.head};
      for (int64_t j = 0; j < kPageTokens; j += 16) {
        __builtin_prefetch(next.key_scales() + j, /*rw=*/0, /*locality=*/3);
        __builtin_prefetch(next.value_scales() + j, /*rw=*/0, /*locality=*/3);
      }
    }
    // Scales of keys that nobody looks at may be anything.
    const D df;
    const V first = hn::Set(df, static_cast<float>(lo)), end = hn::Set(df, static_cast<float>(hi));
    V damage = hn::Zero(df);
    for (int64_t j = 0; j < kPageTokens; j += static_cast<int64_t>(hn::Lanes(df))) {
      const V index = hn::Iota(df, static_cast<float>(j));
      const V scale = hn::IfThenElseZero(hn::And(hn::Ge(index, first), hn::Lt(index, end)),
                                         hn::Load(df, from.value_scales() + j));
      damage = hn::MulAdd(scale, hn::Zero(df), damage);
      hn::Store(hn::IfThenElseZero(hn::Eq(scale, scale), scale), df, expanded.scales + j);
    }
    return {reinterpret_cast<const Quad*>(from.keys()),
            reinterpret_cast<const Quad*>(from.values()), from.key_scales(), expanded.scales,
            hn::GetLane(hn::SumOfLanes(df, damage))};
  }
  static void PutQuery(const float* from, int64_t d, float scale, Query* to) {
    SplitQuery(from, d, scale, to);
  }
  static int64_t QueryStride(int64_t d) { return ByteQueryStride(d); }

  static void Score(int64_t rows, const Query* q, int64_t d, const Tile& tile, Ahead& ahead,
                    int64_t j0, int64_t j1, float* s) {
    WithRows<kRows>(rows, [&](auto r) {
      ScoreByteRows<r()>(q, QuadsOf(d), tile.keys, tile.key_scales, ahead, j0, j1, s);
    });
  }
  static void Softmax(float* s, const Tile& tile, const RunningRow& row, Weight* w) {
    SoftmaxBytes(s, tile.value_scales, row, *w);
  }
  static void SoftmaxMasked(float* s, const Tile& tile, int64_t j0, int64_t j1, int64_t lo,
                            int64_t hi, const RunningRow& row, Weight* w) {
    SoftmaxRowMasked(s, j0, j1, lo, hi, /*adds_up=*/true, row);
    SplitWeightRow(s, tile.value_scales, *w);
  }
  static void AsUsed(const Tile&, float*) {}  // far below what f32 sums make of it
  static void AddValues(int64_t rows, const Weight* w, int64_t j0, int64_t j1, const Tile& tile,
                        Ahead& ahead, int64_t d, float* o, int64_t o_stride) {
    WithRows<kRows>(rows, [&](auto r) {
      ValueByteRows<r()>(w, j0, j1, tile.values, d, tile.damage, ahead, o, o_stride);
    });
  }
};

inline bool UsesBytes(const AttentionDims& dims) {
  return dims.products == Products::kFastest && dims.dtype == DType::kI8 &&
         __builtin_cpu_supports("avx512vnni") != 0;
}
#endif  // LONGLEAF_BYTES

// Calls `run` with a value of the class of numbers to compute with.
template <typename Run>
void WithNumbers([[maybe_unused]] const AttentionDims& dims, const Run& run) {
#if LONGLEAF_PAIRS
  if (UsesPairs(dims)) return run(PairNumbers());
#endif
#if LONGLEAF_BYTES
  if (UsesBytes(dims)) return run(ByteNumbers());
#endif
  run(FloatNumbers());
}

// The block's queries, scaled for exponents of two, to [rows, d].
template <class Numbers>
void LoadQueries(const AttentionBlock& block, typename Numbers::Query* to) {
  const int64_t d = block.dims->head_dim;
  for (int64_t h = 0; h < block.heads; ++h) {
    for (int64_t t = 0; t < block.tokens; ++t, to += Numbers::QueryStride(d)) {
      Numbers::PutQuery(block.query(t) + (block.head + h) * d, d, QueryScale(d), to);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_NUMBERS_INL_H_
