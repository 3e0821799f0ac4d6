// The numbers that attention computes with, compiled once per instruction set: f32, or bf16 pairs
// where the processor multiplies them. Each brings what a block needs: queries and weights as its
// matrix loops take them, and tiles of pages of any type.
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
  using Weight = float;  // [rows, kPageTokens]
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
  // Numbers of 8 bits that take as much room as one of these.
  static constexpr int64_t kExpansion = 4;
  // Whether tiles of this type are read where they lie.
  static constexpr bool Reads(DType dtype) { return dtype == DType::kF32; }
  // The tile at `from`, expanded if it has to be. Keys lo .. hi - 1 are looked at.
  static Tile Load(const PageHead& from, int64_t /*lo*/, int64_t /*hi*/, Expanded& expanded) {
    const int64_t d = from.layout.head_dim, stride = PaddedHeadDim(d);
    if (from.layout.dtype == DType::kF32) {
      return {reinterpret_cast<const float*>(from.keys()),
              reinterpret_cast<const float*>(from.values()), d};
    }
    const auto* keys = reinterpret_cast<const uint32_t*>(from.keys());
    const auto* values = reinterpret_cast<const uint32_t*>(from.values());
    if (from.layout.dtype == DType::kBF16) {
      ExpandToFloats<2>(keys, d / 2, kPageTokens, nullptr, nullptr, expanded.keys, kPageTokens);
      ExpandToFloats<2>(values, kPageTokens / 2, d, nullptr, nullptr, expanded.values, stride);
    } else {
      ExpandToFloats<4>(keys, (d + 3) / 4, kPageTokens, from.key_scales(), nullptr, expanded.keys,
                        kPageTokens);
      ExpandToFloats<4>(values, kPageTokens / 4, d, nullptr, from.value_scales(), expanded.values,
                        stride);
    }
    return {expanded.keys, expanded.values, stride};
  }

  static void PutQuery(const float* from, int64_t d, float scale, Query* to) {
    for (int64_t i = 0; i < d; ++i) to[i] = from[i] * scale;
  }
  static int64_t QueryStride(int64_t d) { return d; }

  // Scores of `rows` (1..kRows) queries and keys j0 .. j1-1, widened to whole vectors.
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
// Queries and weights rounded to bf16, sums in f32. Tiles of i8 are expanded to bf16, which holds
// them exactly; their scales go to the scores and the weights.
struct PairNumbers {
  using Query = Pair;       // [rows, d / 2]
  using Weight = uint16_t;  // [rows, kPageTokens], bf16
  static constexpr int64_t kRows = kPairRows;
  static constexpr bool kInPlace = false;

  struct Tile {
    const Pair* keys = nullptr;    // [d / 2, kPageTokens]
    const Pair* values = nullptr;  // [kPageTokens / 2, stride]
    int64_t stride = 0;
    const float* key_scales = nullptr;
    PairScales value_scales;
  };
  struct Expanded {
    alignas(64) Pair keys[kMaxHeadDim / 2 * kPageTokens];
    alignas(64) Pair values[kMaxHeadDim / 2 * kPageTokens];
    alignas(64) float scales[kPageTokens];
    alignas(64) float inverse[kPageTokens];
  };
  static constexpr int64_t kExpansion = 2;
  static constexpr bool Reads(DType dtype) { return dtype == DType::kBF16; }
  static Tile Load(const PageHead& from, int64_t lo, int64_t hi, Expanded& expanded) {
    const int64_t d = from.layout.head_dim, stride = PaddedHeadDim(d);
    const auto* keys = reinterpret_cast<const Pair*>(from.keys());
    const auto* values = reinterpret_cast<const Pair*>(from.values());
    if (from.layout.dtype == DType::kBF16) return {keys, values, d, nullptr, {}};
    ExpandToPairs(keys, (d + 3) / 4, kPageTokens, expanded.keys, kPageTokens);
    ExpandToPairs(values, kPageTokens / 4, d, expanded.values, stride);
    // Scales of keys that nobody looks at may be anything. A scale of zero belongs to zeros.
    const D df;
    const V first = hn::Set(df, static_cast<float>(lo)), end = hn::Set(df, static_cast<float>(hi));
    const V one = hn::Set(df, 1.0f), least = hn::Set(df, 0x1p-100f);
    for (int64_t j = 0; j < kPageTokens; j += static_cast<int64_t>(hn::Lanes(df))) {
      const V index = hn::Iota(df, static_cast<float>(j));
      const auto seen = hn::And(hn::Ge(index, first), hn::Lt(index, end));
      V scale = hn::Load(df, from.value_scales() + j);
      scale = hn::IfThenElse(hn::Lt(scale, least), least, scale);  // NaN stays NaN
      scale = hn::IfThenElse(seen, scale, one);
      hn::Store(scale, df, expanded.scales + j);
      hn::Store(hn::Div(one, scale), df, expanded.inverse + j);
    }
    return {expanded.keys,
            expanded.values,
            stride,
            from.key_scales(),
            {expanded.scales, expanded.inverse}};
  }

  static void PutQuery(const float* from, int64_t d, float scale, Query* to) {
    RoundQuery(from, d, scale, to);
  }
  static int64_t QueryStride(int64_t d) { return d / 2; }

  static void Score(int64_t rows, const Query* q, int64_t d, const Tile& tile, Ahead& ahead,
                    int64_t j0, int64_t j1, float* s) {
    WithRows<kRows>(rows, [&](auto r) {
      ScorePairRows<r()>(q, d / 2, tile.keys, tile.key_scales, ahead, j0, j1, s);
    });
  }
  static void Softmax(float* s, const Tile& tile, const RunningRow& row, Weight* w) {
    if (tile.key_scales == nullptr) {
      SoftmaxPairs<false>(s, tile.value_scales, row, w);
    } else {
      SoftmaxPairs<true>(s, tile.value_scales, row, w);
    }
  }
  static void SoftmaxMasked(float* s, const Tile& tile, int64_t j0, int64_t j1, int64_t lo,
                            int64_t hi, const RunningRow& row, Weight* w) {
    SoftmaxRowMasked(s, j0, j1, lo, hi, /*adds_up=*/false, row);
    if (tile.key_scales == nullptr) {
      RoundWeightRow<false>(s, tile.value_scales, row, w);
    } else {
      RoundWeightRow<true>(s, tile.value_scales, row, w);
    }
  }
  static void AsUsed(const Tile& tile, float* w) { AsRounded(tile.value_scales, w); }
  static void AddValues(int64_t rows, const Weight* w, int64_t j0, int64_t j1, const Tile& tile,
                        Ahead& ahead, int64_t d, float* o, int64_t o_stride) {
    const auto* pairs = reinterpret_cast<const Pair*>(w);
    WithRows<kRows>(rows, [&](auto r) {
      ValuePairRows<r()>(pairs, j0, j1, tile.values, tile.stride, ahead, d, o, o_stride);
    });
  }
};

// Whether attention of these dimensions computes with them.
inline bool UsesPairs(const AttentionDims& dims) {
  return dims.products == Products::kFastest && dims.dtype != DType::kF32 &&
         __builtin_cpu_supports("avx512bf16") != 0;
}
#endif  // LONGLEAF_PAIRS

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
