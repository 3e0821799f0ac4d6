// One thread's share of attention: a block of queries against a run of key tiles. cca_attention.cc
// cuts a batch into these; cca_attention_block.cc computes them for every instruction set.
#ifndef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BLOCK_H_
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BLOCK_H_

#include <algorithm>
#include <cstdint>

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

// Queries `row` .. `row + tokens - 1` of one item, for heads `head` .. `head + heads - 1`, which
// all share one key head. Its scratch rows are head-major: row h * tokens + t. Requires rows() <=
// RowsThatFit(head_dim) and tokens <= kBlockTokens.
struct AttentionBlock {
  const AttentionPolicy* policy = nullptr;
  const AttentionDims* dims = nullptr;
  const AttentionItem* item = nullptr;
  int64_t query_stride = 0;
  int64_t row = 0;
  int64_t tokens = 0;
  int64_t head = 0;
  int64_t heads = 0;
  int64_t tile_begin = 0;
  int64_t tile_end = 0;

  int64_t rows() const { return heads * tokens; }
  int64_t first_token() const { return item->first_token + row; }
  // Floats of an unfinished result: value [rows, padded d], reference exponent [rows], sum [rows];
  // a multiple of a cache line.
  int64_t PartialFloats() const {
    return (rows() * (PaddedHeadDim(dims->head_dim) + 2) + kMaxLanes - 1) / kMaxLanes * kMaxLanes;
  }
};

// Computes the block. With `partial` (64-byte aligned) it leaves the unfinished result there, else
// it writes the rows of item->out. `stats` as in MergeBlock.
void AttendBlock(const AttentionBlock& block, float* partial, float* stats);

// Joins `splits` unfinished results of the same rows, one after another in `partials`, and writes
// the rows of item->out. Where the block holds the item's last row and `stats` [H, 2] is not null,
// it stores that row's reference exponent (base 2) and reciprocal sum per head.
void MergeBlock(const AttentionBlock& block, int64_t splits, float* partials, float* stats);

// Adds the weights of the item's last row for the positions of key tile `tile` (numbered as
// TilesSeen of that row says) to item.attention_mass, over all heads. `stats` [H, 2].
void AddTileMass(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
                 const AttentionItem& item, int64_t tile, const float* stats);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_BLOCK_H_
