// Attention of one block of queries over key tiles, for every instruction set that Highway knows
// here. The loops over elements are in cca_attention_tile-inl.h and cca_attention_softmax-inl.h.
#include "kernels/cpu/cca_attention_block.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>

// Vectors are kept in arrays, which the scalable ones cannot be: Arm takes the NEON path.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cca_attention_block.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_softmax-inl.h"
#include "kernels/cpu/cca_attention_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

// What a block needs while it runs; uninitialised parts are written before they are read.
struct Scratch {
  alignas(64) float query[kBlockFloats];                // [rows, d]
  alignas(64) float weights[kBlockRows * kPageTokens];  // [rows, kPageTokens]
  alignas(64) float sums[kBlockRows * kMaxLanes];       // [rows, kMaxLanes]
  alignas(64) float reference[kBlockRows];              // [rows]
  float* result;                                        // [rows, padded d]
  int64_t padded;
  int64_t lo[kBlockRows];  // keys lo .. hi-1 of an edge tile are seen by each token
  int64_t hi[kBlockRows];

  RunningRow Row(int64_t r) {
    return {reference + r, sums + r * kMaxLanes, result + r * padded, padded};
  }
};

inline void LoadQueries(const AttentionBlock& block, Scratch& scratch) {
  const int64_t d = block.dims->head_dim;
  const float scale = static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(d)));
  float* to = scratch.query;
  for (int64_t h = 0; h < block.heads; ++h) {
    for (int64_t t = 0; t < block.tokens; ++t, to += d) {
      const float* from = block.query(t) + (block.head + h) * d;
      for (int64_t i = 0; i < d; ++i) to[i] = from[i] * scale;
    }
  }
}

// Floats of a page, at a byte offset.
inline const float* Floats(const std::byte* page, int64_t offset) {
  return reinterpret_cast<const float*>(page + offset);
}

// Keys and values of one head in one page.
struct Tile {
  const float* keys = nullptr;    // [d, kPageTokens]
  const float* values = nullptr;  // [kPageTokens, d]
};

// One key tile for scratch rows base .. base + rows - 1 (whole heads). `edge`: not every row sees
// every key; scratch.lo and hi tell. All rows meet the keys first and then the values, so that each
// stays in the first-level cache; meanwhile they ask for the values, and then for the keys at
// `next_keys` (or null).
inline void AttendTile(Scratch& scratch, int64_t base, int64_t rows, int64_t tokens, int64_t d,
                       const Tile& tile, const float* next_keys, bool edge) {
  const int64_t parts = (rows + kTileRows - 1) / kTileRows;
  int64_t j0[kBlockRows];
  int64_t j1[kBlockRows];
  Ahead values_ahead{tile.values, parts};
  Ahead keys_ahead{next_keys, parts};
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = base + rows * part / parts;
    const int64_t end = base + rows * (part + 1) / parts;
    j0[part] = 0;
    j1[part] = kPageTokens;
    if (edge) {
      j0[part] = kPageTokens;
      j1[part] = 0;
      for (int64_t r = begin; r < end; ++r) {
        if (scratch.lo[r % tokens] >= scratch.hi[r % tokens]) continue;
        j0[part] = std::min(j0[part], scratch.lo[r % tokens]);
        j1[part] = std::max(j1[part], scratch.hi[r % tokens]);
      }
      if (j0[part] >= j1[part]) continue;
    }
    ScoreRowsOf(end - begin, scratch.query + begin * d, d, tile.keys, values_ahead, j0[part],
                j1[part], scratch.weights + begin * kPageTokens);
    for (int64_t r = begin; r < end; ++r) {
      float* s = scratch.weights + r * kPageTokens;
      if (edge) {
        SoftmaxRowMasked(s, j0[part], j1[part], scratch.lo[r % tokens], scratch.hi[r % tokens],
                         scratch.Row(r));
      } else {
        SoftmaxRow(s, scratch.Row(r));
      }
    }
  }
  for (int64_t part = 0; part < parts; ++part) {
    if (j0[part] >= j1[part]) continue;
    const int64_t begin = base + rows * part / parts;
    const int64_t end = base + rows * (part + 1) / parts;
    ValueRowsOf(end - begin, scratch.weights + begin * kPageTokens, j0[part], j1[part], tile.values,
                keys_ahead, d, scratch.result + begin * scratch.padded, scratch.padded);
  }
}

// Whether some row misses a key of the tile whose first key has index `first`; fills lo and hi if
// so. `raw`: the tile holds raw tokens, else cores.
inline bool FindEdges(const AttentionBlock& block, bool raw, int64_t first, Scratch& scratch) {
  const AttentionPolicy& policy = *block.policy;
  // What is seen begins and ends later with each position.
  const int64_t least = block.first_position + 1;
  if ((raw ? policy.FirstRaw(block.last_position + 1) : 0) <= first &&
      (raw ? least : policy.CoresVisible(least)) >= first + kPageTokens) {
    return false;
  }
  for (int64_t t = 0; t < block.tokens; ++t) {
    const int64_t i = block.position(t) + 1;
    const int64_t lo = raw ? policy.FirstRaw(i) : 0;
    const int64_t hi = raw ? i : policy.CoresVisible(i);
    scratch.lo[t] = std::clamp<int64_t>(lo - first, 0, kPageTokens);
    scratch.hi[t] = std::clamp<int64_t>(hi - first, 0, kPageTokens);
  }
  return true;
}

// Pages `begin` .. `end - 1`, all of cores or all of raw tokens, with `heads` heads, of which
// `head` is read, for scratch rows base .. base + rows - 1.
inline void AttendPages(const AttentionBlock& block, Scratch& scratch, int64_t base, int64_t rows,
                        bool raw, int64_t begin, int64_t end, int64_t heads, int64_t head) {
  const int64_t d = block.dims->head_dim;
  const PageLayout layout{block.dims->dtype, heads, d};
  const std::byte* const* pages = raw ? block.raw_pages : block.core_pages;
  for (int64_t number = begin; number < end; ++number) {
    const Tile tile = {Floats(pages[number], layout.keys(head)),
                       Floats(pages[number], layout.values(head))};
    const float* next_keys =
        number + 1 < end ? Floats(pages[number + 1], layout.keys(head)) : nullptr;
    const bool edge = FindEdges(block, raw, number * kPageTokens, scratch);
    AttendTile(scratch, base, rows, block.tokens, d, tile, next_keys, edge);
  }
}

void Attend(const AttentionBlock& block, float* partial, float* stats) {
  const hn::CappedTag<float, kMaxLanes> df;
  const AttentionDims& dims = *block.dims;
  const int64_t d = dims.head_dim;
  const int64_t rows = block.rows();
  alignas(64) float result[kBlockFloats];
  Scratch scratch;
  scratch.padded = PaddedHeadDim(d);
  scratch.result = partial == nullptr ? result : partial;
  std::fill_n(scratch.result, rows * scratch.padded, 0.0f);
  std::fill_n(scratch.sums, rows * kMaxLanes, 0.0f);
  std::fill_n(scratch.reference, rows, -std::numeric_limits<float>::infinity());
  LoadQueries(block, scratch);

  int64_t tile = 0;  // the first of the range
  for (int64_t n = 0; n < block.range_count; ++n) {
    const TileRange& range = block.ranges[n];
    const int64_t to_page = range.begin - tile;
    const int64_t begin = std::max(block.tile_begin + to_page, range.begin);
    const int64_t end = std::min(block.tile_end + to_page, range.end);
    tile += range.count();
    const int64_t page_heads = range.raw ? dims.kv_heads : dims.core_heads;
    const int64_t share = dims.query_heads / page_heads;
    if (share >= block.heads) {
      AttendPages(block, scratch, 0, rows, range.raw, begin, end, page_heads, block.head / share);
      continue;
    }
    for (int64_t h = 0; h < block.heads; ++h) {
      AttendPages(block, scratch, h * block.tokens, block.tokens, range.raw, begin, end, page_heads,
                  block.head + h);
    }
  }

  alignas(64) float totals[kBlockRows];
  for (int64_t r = 0; r < rows; ++r) {
    totals[r] = hn::GetLane(hn::SumOfLanes(df, hn::Load(df, scratch.sums + r * kMaxLanes)));
  }
  if (partial == nullptr) {
    for (int64_t r = 0; r < rows; ++r) {
      WriteRow(block, r, scratch.result + r * scratch.padded, scratch.reference[r], totals[r],
               stats);
    }
  } else {
    std::copy_n(scratch.reference, rows, partial + rows * scratch.padded);
    std::copy_n(totals, rows, partial + rows * (scratch.padded + 1));
  }
}

void TileMass(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
              const AttentionItem& item, int64_t tile, const float* stats) {
  const hn::CappedTag<float, kMaxLanes> df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  const int64_t d = dims.head_dim;
  const int64_t last = item.first_token + item.rows;  // 1-based index of the query
  const KeyTiles tiles = TilesSeen(policy, last - 1, 1);
  const bool raw = tile >= tiles.core;
  const int64_t number = raw ? tiles.raw_first + tile - tiles.core : tile;
  const std::byte* page = (raw ? item.raw_pages : item.core_pages)[number];
  const int64_t page_heads = raw ? dims.kv_heads : dims.core_heads;
  const PageLayout layout{dims.dtype, page_heads, d};
  const int64_t first = number * kPageTokens;
  const int64_t seen_first = raw ? policy.FirstRaw(last) : 0;
  const int64_t seen_end = raw ? last : policy.CoresVisible(last);
  const int64_t j0 = std::clamp<int64_t>(seen_first - first, 0, kPageTokens);
  const int64_t j1 = std::clamp<int64_t>(seen_end - first, 0, kPageTokens);

  alignas(64) float scores[kPageTokens];
  alignas(64) float mass[kPageTokens] = {};
  AttentionBlock row;
  row.policy = &policy;
  row.dims = &dims;
  row.item = &item;
  row.query_stride = query_stride;
  row.row = item.rows - 1;
  row.tokens = row.heads = 1;
  Scratch scratch;
  for (int64_t h = 0; h < dims.query_heads; ++h) {
    row.head = h;
    LoadQueries(row, scratch);
    const int64_t page_head = h / (dims.query_heads / page_heads);
    Ahead nothing;
    ScoreRowsOf(1, scratch.query, d, Floats(page, layout.keys(page_head)), nothing, j0, j1, scores);
    const auto reference = hn::Set(df, stats[2 * h]);
    const auto inverse = hn::Set(df, stats[2 * h + 1]);
    for (int64_t j = j0 / lanes * lanes; j < j1; j += lanes) {
      const auto weight = Exp2(hn::Sub(hn::Load(df, scores + j), reference));
      hn::Store(hn::MulAdd(weight, inverse, hn::Load(df, mass + j)), df, mass + j);
    }
  }
  float* out = item.attention_mass + (raw ? policy.CoresVisible(last) - seen_first : 0) + first;
  for (int64_t j = j0; j < j1; ++j) out[j] += mass[j];
}

}  // namespace HWY_NAMESPACE
}  // namespace longleaf::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

KeyTiles TilesSeen(const AttentionPolicy& policy, int64_t first, int64_t tokens) {
  const int64_t last = first + tokens;  // 1-based index of the last query
  const int64_t raw_first = policy.FirstRaw(first + 1) / kPageTokens;
  return {(policy.CoresVisible(last) + kPageTokens - 1) / kPageTokens, raw_first,
          (last + kPageTokens - 1) / kPageTokens - raw_first};
}

HWY_EXPORT(Attend);
HWY_EXPORT(TileMass);

void AttendBlock(const AttentionBlock& block, float* partial, float* stats) {
  HWY_DYNAMIC_DISPATCH(Attend)(block, partial, stats);
}

void AddTileMass(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
                 const AttentionItem& item, int64_t tile, const float* stats) {
  HWY_DYNAMIC_DISPATCH(TileMass)(policy, dims, query_stride, item, tile, stats);
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
