// A unit of attention as the mma.sync kernel has it in shared memory.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_UNIT_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_UNIT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_mma_tile.h"
#include "kernels/cuda/attention_tile.h"

namespace longleaf::kernels::cuda {

// The unit of a block, in positions: the keys of its pages one after another, cores first, 64 to a
// page. In shared memory, so that it takes no registers.
struct MmaUnit {
  // [0] of cores, [1] of raw tokens:
  std::byte* const* tables[2];  // the page at position 64 i is entry i
  int64_t elements[2][2];       // [.][keys, values] of this head, in bytes from a page's beginning
  int64_t scales[2][2];
  int32_t begin[2];  // positions that the unit has
  int32_t end[2];
  int32_t pages;
  int32_t core_pages;
};

// What a slot sees, what all slots of a warp see, or what any does, in positions.
struct MmaSight {
  int32_t core_end;
  int32_t raw_begin;
  int32_t raw_end;
};

__device__ inline MmaUnit UnitOf(const AttentionArguments& arguments, const AttentionUnit& unit,
                                 int32_t first_head) {
  const PageSequence pages =
      PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end);
  const StepItem& item = arguments.items[unit.item];
  MmaUnit of;
  of.pages = static_cast<int32_t>(pages.size());
  of.core_pages = static_cast<int32_t>(pages.cores);
  of.tables[0] = item.core_pages + pages.first_core;
  of.tables[1] = item.raw_pages + (pages.first_raw - pages.cores);
  const int64_t raw_shift = (pages.cores - pages.first_raw) * kPageTokens;
  of.begin[0] = static_cast<int32_t>(unit.core_begin - pages.first_core * kPageTokens);
  of.end[0] = static_cast<int32_t>(unit.core_end - pages.first_core * kPageTokens);
  of.begin[1] = static_cast<int32_t>(unit.raw_begin + raw_shift);
  of.end[1] = static_cast<int32_t>(unit.raw_end + raw_shift);
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    const DevicePageLayout& layout = part == 0 ? arguments.shape.core : arguments.shape.raw;
    const int64_t head = first_head / (arguments.shape.query_heads / layout.heads);
    of.elements[part][0] = layout.keys(arguments.layer, head);
    of.elements[part][1] = layout.values(arguments.layer, head);
    of.scales[part][0] = layout.key_scales(arguments.layer, head);
    of.scales[part][1] = layout.value_scales(arguments.layer, head);
  }
  return of;
}

// What a row sees of the unit's positions, and perhaps of what lies beyond them.
__device__ inline MmaSight SightOf(const AttentionArguments& arguments, const AttentionUnit& unit,
                                   const MmaUnit& of, int64_t token) {
  const Sight sight = SeenBy(arguments.shape.policy, token);
  const auto raw = [&](int64_t end) {
    return static_cast<int32_t>(std::max<int64_t>(end - unit.raw_begin, 0)) + of.begin[1];
  };
  return {static_cast<int32_t>(std::max<int64_t>(sight.cores - unit.core_begin, 0)) + of.begin[0],
          raw(sight.raw_begin), raw(sight.raw_end)};
}

// The columns of page `i` that a sight covers.
__device__ __forceinline__ SeenColumns ColumnsOf(const MmaSight& sight, bool core, int32_t i) {
  constexpr int32_t kTokens = kPageTokens;
  return {core ? 0 : sight.raw_begin - i * kTokens,
          (core ? sight.core_end : sight.raw_end) - i * kTokens};
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_UNIT_H_
