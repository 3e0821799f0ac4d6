// One thread's share of attention: a block of queries against a run of key tiles. The plan
// (cca_attention_plan.h) cuts a batch into these; cca_attention_block.cc, cca_attention_merge.cc
// and cca_attention_mass.cc compute them for every instruction set.
#ifndef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BLOCK_H_
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BLOCK_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>

#include "absl/types/span.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/cca_attention.h"
#include "kernels/cpu/page.h"

namespace longleaf::kernels {

// A block keeps its scaled queries and its running result in scratch on the stack: 160 KiB in all,
// which stays in the second-level cache beside one page of keys and values.
inline constexpr int64_t kBlockRows = 128;
inline constexpr int64_t kBlockFloats = 16384;  // rows * padded head size
inline constexpr int64_t kMaxHeadDim = 256;
inline constexpr int64_t kMaxLanes = 16;  // vectors are capped at this many floats

// Columns of a result row in scratch: whole vectors for every instruction set.
constexpr int64_t PaddedHeadDim(int64_t d) { return (d + kMaxLanes - 1) / kMaxLanes * kMaxLanes; }
// Whole pages of tokens, so that blocks end where pages do.
constexpr int64_t RowsThatFit(int64_t d) {
  return kBlockFloats / PaddedHeadDim(d) >= kBlockRows ? kBlockRows : kPageTokens;
}
// What queries are multiplied by: scores are exponents of two.
inline float QueryScale(int64_t d) {
  return static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(d)));
}
static_assert(kPageTokens * PaddedHeadDim(kMaxHeadDim) <= kBlockFloats);

// The key tiles (pages) that consecutive queries see between them: core pages 0 .. core - 1, then
// raw pages raw_first .. raw_first + raw - 1. Tiles are numbered in that order.
struct KeyTiles {
  int64_t core = 0;
  int64_t raw_first = 0;
  int64_t raw = 0;
  int64_t count() const { return core + raw; }
};
// For `tokens` queries, the first of them at 0-based token index `first`.
KeyTiles TilesSeen(const AttentionPolicy& policy, int64_t first, int64_t tokens);

// Pages `begin` .. `end - 1` of cores or of raw tokens.
struct TileRange {
  bool raw = false;
  int64_t begin = 0;
  int64_t end = 0;
  int64_t count() const { return end - begin; }
};

// A query of a block that is gathered from several items.
struct GatheredToken {
  const float* query = nullptr;  // [H * d], rotated
  int64_t position = 0;          // 0-based token index
};

// `tokens` queries for heads `head` .. `head + heads - 1`, which all share one key head, against
// some tiles. The queries are rows `row` .. of one item or, with `gathered`, any. Scratch rows are
// head-major: row h * tokens + t. Requires rows() <= RowsThatFit(head_dim).
struct AttentionBlock {
  const AttentionPolicy* policy = nullptr;
  const AttentionDims* dims = nullptr;
  const AttentionItem* item = nullptr;      // null with `gathered`
  const GatheredToken* gathered = nullptr;  // [tokens] or null
  const std::byte* const* core_pages = nullptr;
  const std::byte* const* raw_pages = nullptr;
  int64_t query_stride = 0;
  int64_t row = 0;
  int64_t tokens = 0;
  int64_t head = 0;
  int64_t heads = 0;
  int64_t first_position = 0;  // least and greatest 0-based token index of the queries
  int64_t last_position = 0;
  // Tiles tile_begin .. tile_end - 1, numbered through `ranges` in order. Every row that sees a key
  // of a tile has this page at that place; rows that see none of it are left alone.
  const TileRange* ranges = nullptr;
  int64_t range_count = 0;
  int64_t tile_begin = 0;
  int64_t tile_end = 0;

  int64_t rows() const { return heads * tokens; }
  const float* query(int64_t t) const {
    return gathered != nullptr ? gathered[t].query : item->query + (row + t) * query_stride;
  }
  int64_t position(int64_t t) const {
    return gathered != nullptr ? gathered[t].position : first_position + t;
  }
  // Floats of an unfinished result: value [rows, padded d], reference exponent [rows], sum [rows];
  // a multiple of a cache line.
  int64_t PartialFloats() const {
    return (rows() * (PaddedHeadDim(dims->head_dim) + 2) + kMaxLanes - 1) / kMaxLanes * kMaxLanes;
  }
};

// Where an item's rows lie in the unfinished result of a block.
struct PartialRows {
  int64_t offset = 0;  // of the result, in floats
  int64_t tokens = 0;  // of that block
  int64_t head = 0;    // its heads
  int64_t heads = 0;
  int64_t token = 0;  // its token that is the item's row 0 here
};

// What attention of these dimensions computes with on this machine, with the instruction set in
// force.
enum class Arithmetic : uint8_t {
  kF32,
  kBF16,   // queries and weights are rounded to bf16
  kBytes,  // to integers of 16 and 15 bits, relative to the greatest of a query, of a tile
};
Arithmetic ArithmeticOf(const AttentionDims& dims);

// Computes the block. With `partial` (64-byte aligned) it leaves the unfinished result there, else
// it writes the rows of item->out. `stats` as in MergeBlock.
void AttendBlock(const AttentionBlock& block, float* partial, float* stats);

// Joins unfinished results by running maximum and sum, in the order of `sources`, and writes the
// block's rows of item->out; reads no pages. A source without a head of the block's is skipped for
// that head; between them they have each key that a row sees once. Where the block holds the item's
// last row and `stats` [H, 2] is not null, it stores that row's reference exponent (base 2) and
// reciprocal sum per head.
void MergeBlock(const AttentionBlock& block, absl::Span<const PartialRows> sources,
                const float* partials, float* stats);

// Adds the weights of the item's last row for the positions of key tile `tile` (numbered as
// TilesSeen of that row says) to item.attention_mass, over all heads. `stats` [H, 2].
void AddTileMass(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
                 const AttentionItem& item, int64_t tile, const float* stats);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BLOCK_H_
