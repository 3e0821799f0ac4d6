// What the attention kernels are told: plain structs that the host plans once per step
// (attention_plan.h) and that hold for all layers.
//
// The work is cut into units. A unit is a few rows of the batch, and pages of one item's state that
// they look at; it is run once for every `pack` query heads. A prefill unit is up to kUnitSlots
// rows of one item and everything that they see. A decode unit is one row and a part of its pages;
// a shared one, rows of several items that hold the same pages. What several units have found for
// one row is merged at the end (attention_combine.h).
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_UNIT_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_UNIT_H_

#include <cstdint>

namespace longleaf::kernels::cuda {

// Slots of a unit: its rows times the query heads that are packed with each. Slot s is row s / pack
// and, in block y of the grid, query head y * pack + s % pack.
inline constexpr int32_t kUnitSlots = 128;

// One row of a unit.
struct AttentionRow {
  int64_t token = 0;  // 0-based index in its state: what it sees is SeenBy(policy, token)
  int32_t row = 0;    // of the batch: qkv
  int32_t out = 0;    // of the result; unused where the unit writes partial results
};

// Key and value tokens core_begin .. core_end-1, then raw_begin .. raw_end-1, of `item`'s pages:
// each of them is seen by some row of the unit, and every row leaves out what it does not see
// itself. No two units bring the same page to a row, so within a unit's pages a row's own sight is
// the only mask. Where nothing is seen begin == end.
struct AttentionUnit {
  int64_t core_begin = 0;
  int64_t core_end = 0;
  int64_t raw_begin = 0;
  int64_t raw_end = 0;
  int32_t item = 0;       // whose page tables: StepItem
  int32_t first_row = 0;  // in the step's rows
  int32_t rows = 0;       // rows * pack <= the launch's tile. 0: an empty unit, nothing to do
  int32_t partial = -1;   // partial result of its first row, those of others follow; -1: the
                          // unit is all that its rows see and writes the result itself
};

// Units that run in one grid: (units, query_heads / pack). The query heads of a block share one
// core head where its units have cores, and one key head where they have raw tokens.
struct AttentionLaunch {
  int32_t first_unit = 0;
  int32_t units = 0;  // with the empty ones at the end
  int32_t pack = 1;   // query heads of a slot group
  int32_t tile = 0;   // slots of its largest unit, rounded up: 16, 32, 64 or 128
  // Units of many consecutive rows of one item each, with a pack of 1. The others are launches of
  // decode units, whose rows get the same bits whatever the tile.
  bool prefill = false;

  friend bool operator==(const AttentionLaunch&, const AttentionLaunch&) = default;
};

// One row's partial results: merge_partials[first .. first+count-1], in this order.
struct AttentionMerge {
  int32_t out = 0;  // row of the result
  int32_t first = 0;
  int32_t count = 0;  // 0: an empty entry, nothing to do
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_UNIT_H_
