// The second pass of attention, for those who ask where it looked: the weights of one row over one
// key tile, for every instruction set.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/cca_attention_block.h"

// As in cca_attention_block.cc.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cca_attention_mass.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_numbers-inl.h"
#include "kernels/cpu/cca_attention_softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

template <class Numbers>
void TileMassWith(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
                  const AttentionItem& item, int64_t tile_number, const float* stats) {
  const D df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const int64_t d = dims.head_dim;
  const int64_t last = item.first_token + item.rows;  // 1-based index of the query
  const KeyTiles tiles = TilesSeen(policy, last - 1, 1);
  const bool raw = tile_number >= tiles.core;
  const int64_t number = raw ? tiles.raw_first + tile_number - tiles.core : tile_number;
  const std::byte* page = (raw ? item.raw_pages : item.core_pages)[number];
  const PageLayout layout{dims.dtype, raw ? dims.kv_heads : dims.core_heads, d};
  const int64_t first = number * kPageTokens;
  const int64_t seen_first = raw ? policy.FirstRaw(last) : 0;
  const int64_t seen_end = raw ? last : policy.CoresVisible(last);
  const int64_t j0 = std::clamp<int64_t>(seen_first - first, 0, kPageTokens);
  const int64_t j1 = std::clamp<int64_t>(seen_end - first, 0, kPageTokens);

  alignas(64) float weights[kPageTokens] = {};
  alignas(64) float mass[kPageTokens] = {};
  alignas(64) typename Numbers::Query query[kMaxHeadDim];
  typename Numbers::Expanded expanded;
  AttentionBlock row;
  row.policy = &policy;
  row.dims = &dims;
  row.item = &item;
  row.query_stride = query_stride;
  row.row = item.rows - 1;
  row.tokens = row.heads = 1;
  for (int64_t h = 0; h < dims.query_heads; ++h) {
    row.head = h;
    LoadQueries<Numbers>(row, query);
    const auto tile = Numbers::Load({page, layout, h / (dims.query_heads / layout.heads)}, nullptr,
                                    j0, j1, expanded);
    Ahead nothing;
    Numbers::Score(1, query, d, tile, nothing, j0, j1, weights);
    const V reference = hn::Set(df, stats[2 * h]);
    for (int64_t j = j0 / lanes * lanes; j < j1; j += lanes) {
      hn::Store(Exp2(hn::Sub(hn::Load(df, weights + j), reference)), df, weights + j);
    }
    Numbers::AsUsed(tile, weights);
    for (int64_t j = j0; j < j1; ++j) mass[j] += weights[j] * stats[2 * h + 1];
  }
  float* out = item.attention_mass + (raw ? policy.CoresVisible(last) - seen_first : 0) + first;
  for (int64_t j = j0; j < j1; ++j) out[j] += mass[j];
}

void TileMass(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
              const AttentionItem& item, int64_t tile, const float* stats) {
  WithNumbers(dims, [&](auto numbers) {
    TileMassWith<decltype(numbers)>(policy, dims, query_stride, item, tile, stats);
  });
}

Arithmetic Used([[maybe_unused]] const AttentionDims& dims) {
#if LONGLEAF_PAIRS
  if (UsesPairs(dims)) return Arithmetic::kBF16;
#endif
#if LONGLEAF_BYTES
  if (UsesBytes(dims)) return Arithmetic::kBytes;
#endif
  return Arithmetic::kF32;
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(TileMass);
HWY_EXPORT(Used);

void AddTileMass(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
                 const AttentionItem& item, int64_t tile, const float* stats) {
  HWY_DYNAMIC_DISPATCH(TileMass)(policy, dims, query_stride, item, tile, stats);
}

Arithmetic ArithmeticOf(const AttentionDims& dims) { return HWY_DYNAMIC_DISPATCH(Used)(dims); }

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
