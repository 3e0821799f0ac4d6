// Attention of one block of queries over key tiles, for every instruction set that Highway knows
// here and both kinds of numbers (cca_attention_numbers-inl.h).
#include "kernels/cpu/cca_attention_block.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

// Vectors are kept in arrays, which the scalable ones cannot be: Arm takes the NEON path.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cca_attention_block.cc"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"
#include "kernels/cpu/cca_attention_numbers-inl.h"
#include "kernels/cpu/cca_attention_softmax-inl.h"
#include "kernels/cpu/cca_attention_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels {
namespace HWY_NAMESPACE {

// What a block needs while it runs; uninitialised parts are written before they are read.
template <class Numbers>
struct Scratch {
  alignas(64) typename Numbers::Query query[kBlockFloats];  // [rows, QueryStride(d)]
  alignas(64) typename Numbers::Weight weights[kBlockRows * Numbers::kWeightStride];
  alignas(64) float scores[Numbers::kRows * kPageTokens];  // unless kInPlace
  alignas(64) float sums[kBlockRows * kMaxLanes];          // [rows, kMaxLanes]
  alignas(64) float reference[kBlockRows];                 // [rows]
  typename Numbers::Expanded expanded;
  float* result;  // [rows, padded d]
  int64_t padded;
  int64_t lo[kBlockRows];  // keys lo .. hi-1 of an edge tile are seen by each token
  int64_t hi[kBlockRows];
  int64_t j0[kBlockRows];  // keys j0 .. j1-1 by some row of each part
  int64_t j1[kBlockRows];

  RunningRow Row(int64_t r) {
    return {reference + r, sums + r * kMaxLanes, result + r * padded, padded};
  }
  float* ScoresOf(int64_t r) {
    if constexpr (Numbers::kInPlace) {
      return weights + r * kPageTokens;
    } else {
      return scores;
    }
  }
};

// Scratch rows base .. base + rows - 1 in parts of about equal height, at most Numbers::kRows.
struct Parts {
  int64_t base;
  int64_t rows;
  int64_t count;
  int64_t begin(int64_t part) const { return base + rows * part / count; }
};

// The keys that each part sees of an edge tile (scratch.lo and hi tell) or of a whole one.
template <class Numbers>
void FindKeys(Scratch<Numbers>& scratch, const Parts& parts, int64_t tokens, bool edge) {
  for (int64_t part = 0; part < parts.count; ++part) {
    int64_t j0 = edge ? kPageTokens : 0, j1 = edge ? 0 : kPageTokens;
    for (int64_t r = parts.begin(part); edge && r < parts.begin(part + 1); ++r) {
      if (scratch.lo[r % tokens] >= scratch.hi[r % tokens]) continue;
      j0 = std::min(j0, scratch.lo[r % tokens]);
      j1 = std::max(j1, scratch.hi[r % tokens]);
    }
    scratch.j0[part] = j0;
    scratch.j1[part] = j1;
  }
}

// One key tile for scratch rows base .. base + rows - 1 (whole heads). `edge`: not every row sees
// every key. All rows meet the keys first and then the values, so that each stays in the
// first-level cache; meanwhile they ask for the values, and then for the keys of `next_page` (or
// null).
template <class Numbers>
void AttendTile(Scratch<Numbers>& scratch, int64_t base, int64_t rows, int64_t tokens,
                const PageHead& from, const std::byte* next_page, bool edge) {
  const int64_t d = from.layout.head_dim;
  const Parts parts{base, rows, (rows + Numbers::kRows - 1) / Numbers::kRows};
  FindKeys(scratch, parts, tokens, edge);
  const int64_t lo = *std::min_element(scratch.j0, scratch.j0 + parts.count);
  const int64_t hi = *std::max_element(scratch.j1, scratch.j1 + parts.count);
  if (lo >= hi) return;
  const typename Numbers::Tile tile = Numbers::Load(from, next_page, lo, hi, scratch.expanded);
  Ahead values_ahead{nullptr, parts.count}, keys_ahead{nullptr, parts.count};
  if (Numbers::Reads(from.layout.dtype)) {
    values_ahead.next = from.values();
    if (next_page != nullptr) keys_ahead.next = PageHead{next_page, from.layout, from.head}.keys();
  }
  for (int64_t part = 0; part < parts.count; ++part) {
    const int64_t begin = parts.begin(part), end = parts.begin(part + 1);
    const int64_t j0 = scratch.j0[part], j1 = scratch.j1[part];
    if (j0 >= j1) continue;
    float* s = scratch.ScoresOf(begin);
    Numbers::Score(end - begin, scratch.query + begin * Numbers::QueryStride(d), d, tile,
                   values_ahead, j0, j1, s);
    for (int64_t r = begin; r < end; ++r, s += kPageTokens) {
      auto* w = scratch.weights + r * Numbers::kWeightStride;
      if (edge) {
        Numbers::SoftmaxMasked(s, tile, j0, j1, scratch.lo[r % tokens], scratch.hi[r % tokens],
                               scratch.Row(r), w);
      } else {
        Numbers::Softmax(s, tile, scratch.Row(r), w);
      }
    }
  }
  for (int64_t part = 0; part < parts.count; ++part) {
    if (scratch.j0[part] >= scratch.j1[part]) continue;
    const int64_t begin = parts.begin(part), end = parts.begin(part + 1);
    Numbers::AddValues(end - begin, scratch.weights + begin * Numbers::kWeightStride,
                       scratch.j0[part], scratch.j1[part], tile, keys_ahead, d,
                       scratch.result + begin * scratch.padded, scratch.padded);
  }
}

// Whether some row misses a key of the tile whose first key has index `first`; if so, fills the
// keys lo .. hi-1 of it that each token sees. `raw`: the tile holds raw tokens, else cores.
inline bool FindEdges(const AttentionBlock& block, bool raw, int64_t first, int64_t* lo_of,
                      int64_t* hi_of) {
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
    lo_of[t] = std::clamp<int64_t>(lo - first, 0, kPageTokens);
    hi_of[t] = std::clamp<int64_t>(hi - first, 0, kPageTokens);
  }
  return true;
}

// Pages `begin` .. `end - 1`, all of cores or all of raw tokens, with `heads` heads, of which
// `head` is read, for scratch rows base .. base + rows - 1.
template <class Numbers>
void AttendPages(const AttentionBlock& block, Scratch<Numbers>& scratch, int64_t base, int64_t rows,
                 bool raw, int64_t begin, int64_t end, int64_t heads, int64_t head) {
  const PageLayout layout{block.dims->dtype, heads, block.dims->head_dim};
  const std::byte* const* pages = raw ? block.raw_pages : block.core_pages;
  for (int64_t number = begin; number < end; ++number) {
    const bool edge = FindEdges(block, raw, number * kPageTokens, scratch.lo, scratch.hi);
    AttendTile(scratch, base, rows, block.tokens, {pages[number], layout, head},
               number + 1 < end ? pages[number + 1] : nullptr, edge);
  }
}

template <class Numbers>
void AttendWith(const AttentionBlock& block, float* partial, float* stats) {
  const hn::CappedTag<float, kMaxLanes> df;
  const AttentionDims& dims = *block.dims;
  const int64_t d = dims.head_dim;
  const int64_t rows = block.rows();
  alignas(64) float result[kBlockFloats];
  Scratch<Numbers> scratch;
  scratch.padded = PaddedHeadDim(d);
  scratch.result = partial == nullptr ? result : partial;
  std::fill_n(scratch.result, rows * scratch.padded, 0.0f);
  std::fill_n(scratch.sums, rows * kMaxLanes, 0.0f);
  std::fill_n(scratch.reference, rows, -std::numeric_limits<float>::infinity());
  LoadQueries<Numbers>(block, scratch.query);

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

void Attend(const AttentionBlock& block, float* partial, float* stats) {
  WithNumbers(*block.dims,
              [&](auto numbers) { AttendWith<decltype(numbers)>(block, partial, stats); });
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

void AttendBlock(const AttentionBlock& block, float* partial, float* stats) {
  HWY_DYNAMIC_DISPATCH(Attend)(block, partial, stats);
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
