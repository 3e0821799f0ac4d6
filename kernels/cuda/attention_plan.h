// Cuts the attention of a step into units (attention_unit.h). Host code, no CUDA.
//
// An item that wants many rows (prefill) is cut into tiles of consecutive rows, each with all that
// it sees; only where too few tiles would leave multiprocessors idle is what they see cut as well.
//
// An item that wants few rows (decode) is cut by what it sees, into chunks of pages, so that one
// row keeps the whole chip reading. Where chunks begin and end depends on the item alone: at
// multiples of a size that grows with the distance from the beginning, and where its own pages
// begin behind those of the state that it was branched from. So siblings cut their common pages
// alike, and a chunk that several of them see is one unit, which reads each page once for all of
// them. A row adds up the same numbers in the same order whether others share its chunks or not.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_PLAN_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_PLAN_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/attention_unit.h"
#include "kernels/cuda/step.h"

namespace longleaf::kernels::cuda {

// One item of the batch, as the planner sees it.
struct PlanItem {
  int64_t first_token = 0;  // of its first row
  int32_t first_row = 0;    // of the batch
  int32_t rows = 0;
  int32_t outputs = 0;          // of its last rows
  int64_t trunk_tokens = 0;     // of the state that this one was branched from; 0: of none
  int64_t first_core_page = 0;  // that core_pages[0] is
  int64_t first_raw_page = 0;
  absl::Span<std::byte* const> core_pages;  // equal pointers are equal pages
  absl::Span<std::byte* const> raw_pages;
};

struct AttentionPlan {
  std::vector<AttentionUnit> units;
  std::vector<AttentionRow> rows;
  std::vector<AttentionLaunch> launches;
  std::vector<AttentionMerge> merges;
  std::vector<int32_t> merge_partials;
  int32_t partials = 0;  // partial results of units, numbered from 0
};

// Items that want at most so many rows are decode, and are cut into fine chunks; up to
// kMostDecodeRows into coarse ones.
inline constexpr int32_t kFineRows = 16;
inline constexpr int32_t kMostDecodeRows = 64;

// How a part (cores or raw tokens) of a state is cut into chunks, in pages: at multiples of `least`
// or, further on, of 1 / per_octave of the power of two below. per_octave 0: of `least` everywhere.
struct ChunkRule {
  int64_t least = 1;  // a power of two, as per_octave where it is not 0
  int64_t per_octave = 0;

  // The end of the chunk that `page` is in.
  constexpr int64_t End(int64_t page) const {
    int64_t size = least;
    if (per_octave != 0) {
      const auto octave = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(page)));
      size = std::max(size, octave / per_octave);
    }
    return (page / size + 1) * size;
  }
};
// For items that want so many rows, of 1 .. kMostDecodeRows.
ChunkRule ChunksOf(const StepShape& shape, StatePart part, int32_t wanted);

// The query heads that one decode slot group packs: those that share a head of that part.
constexpr int32_t PackOf(const StepShape& shape, StatePart part) {
  const int32_t share =
      shape.query_heads / (part == StatePart::kCore ? shape.core_heads : shape.kv_heads);
  return share <= kUnitSlots ? share : 1;
}

// The plan for the rows that `which` names. Counts of units and merges are rounded up with empty
// ones, so that steps that differ little have equal launches.
AttentionPlan PlanAttention(const StepShape& shape, Rows which, absl::Span<const PlanItem> items,
                            int multiprocessors);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_PLAN_H_
