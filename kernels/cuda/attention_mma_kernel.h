// The attention kernel by mma.sync: a block runs one unit for `pack` query heads
// (attention_unit.h).
//
// The pages come through a ring of three stages, keys and values in turn: while the warps work on
// one, the next two are on their way. Each warp has 16 or 32 query slots of its own and all keys,
// so that warps never exchange numbers, and what a row gets does not depend on the size of the
// tile.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_KERNEL_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_KERNEL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_mma.h"
#include "kernels/cuda/attention_mma_tile.h"
#include "kernels/cuda/attention_mma_unit.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {

template <DType kType, int kD, int kWarps, int kMTiles>
struct MmaBlock {
  using Layout = MmaLayout<kType, kD>;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kWarpSlots = kMTiles * 16;
  static constexpr int kSlots = kWarps * kWarpSlots;
  static constexpr int kStages = 3;
  // Shared memory, in bytes: stages, queries, the unit, what each slot sees and what each warp
  // does.
  static constexpr int kQueries = kStages * Layout::kStage;
  static constexpr int kUnit = kQueries + kSlots * Layout::kQueryRow;
  static constexpr int kSights = kUnit + static_cast<int>(sizeof(MmaUnit));
  static constexpr int kShared =
      kSights + (kSlots + 2 * kWarps) * static_cast<int>(sizeof(MmaSight));
  static_assert(kUnit % alignof(MmaUnit) == 0);
};

// Starts the copy of one head's keys (kind 0, with all scales) or values (1) of page `i`. Rows
// outside of the unit become zero: a weight of zero times whatever lies there must be zero.
template <DType kType, int kD, int kThreads>
__device__ __forceinline__ void CopyStage(const MmaUnit& unit, const std::byte* page, int32_t i,
                                          int kind, std::byte* stage) {
  using Layout = MmaLayout<kType, kD>;
  constexpr int kChunks = Layout::kRowBytes / 16;  // of a row
  static_assert(Layout::kKeys * kChunks % kThreads == 0);
  const int part = i < unit.core_pages ? 0 : 1;
  const int thread = static_cast<int>(threadIdx.x);
  const int begin = unit.begin[part] - i * Layout::kKeys;
  const auto held = static_cast<unsigned>(unit.end[part] - unit.begin[part]);
  const std::byte* const from = page + unit.elements[part][kind] + threadIdx.x * 16;
#pragma unroll
  for (int c = 0; c < Layout::kKeys * kChunks / kThreads; ++c) {
    // Where a row is a whole part of the threads, the compiler needs the first of these alone.
    const int row = kThreads % kChunks == 0 ? thread / kChunks + c * (kThreads / kChunks)
                                            : (c * kThreads + thread) / kChunks;
    const int chunk =
        kThreads % kChunks == 0 ? thread % kChunks : (c * kThreads + thread) % kChunks;
    CpAsync16(stage + row * Layout::kRow + chunk * 16, from + c * kThreads * 16,
              static_cast<unsigned>(row - begin) < held ? 16 : 0);
  }
  if constexpr (Layout::kScaled) {
    if (kind != 0) return;
    for (int row = thread; row < Layout::kKeys; row += kThreads) {
      const int valid = static_cast<unsigned>(row - begin) < held ? 4 : 0;
      CpAsync4(stage + Layout::kKeyScales + row * 4, page + unit.scales[part][0] + row * 4, valid);
      CpAsync4(stage + Layout::kValueScales + row * 4, page + unit.scales[part][1] + row * 4,
               valid);
    }
  }
}

// Four elements of a query to their place in shared memory.
template <typename Layout>
__device__ __forceinline__ void PutQuery(std::byte* query, int k, float4 q) {
  // Of i8, elements 0 and 2 are neighbours there, and 1 and 3.
  const uint32_t low = Layout::kScaled ? PackBf16(q.x, q.z) : PackBf16(q.x, q.y);
  const uint32_t high = Layout::kScaled ? PackBf16(q.y, q.w) : PackBf16(q.z, q.w);
  *reinterpret_cast<uint32_t*>(query + Layout::QueryPlace(k) * 2) = low;
  *reinterpret_cast<uint32_t*>(query + Layout::QueryPlace(k + (Layout::kScaled ? 1 : 2)) * 2) =
      high;
}

template <DType kType, int kD, int kWarps, int kMTiles>
__global__ void __launch_bounds__(kWarps * 32, kWarps* kMTiles == 8 ? 2 : 1)
    AttentionMma(AttentionArguments arguments, int32_t first_unit, int32_t pack) {
  using Layout = MmaLayout<kType, kD>;
  using Block = MmaBlock<kType, kD, kWarps, kMTiles>;
  const AttentionUnit& unit = arguments.units[first_unit + static_cast<int32_t>(blockIdx.x)];
  if (unit.rows == 0) return;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32, warp = thread / 32;
  const int32_t first_head = static_cast<int32_t>(blockIdx.y) * pack;
  const int32_t slots = unit.rows * pack;

  std::byte* const stages = DynamicShared<std::byte>();
  MmaUnit& of = *reinterpret_cast<MmaUnit*>(stages + Block::kUnit);
  MmaSight* const sights = reinterpret_cast<MmaSight*>(stages + Block::kSights);
  MmaSight* const summary = sights + Block::kSlots + 2 * warp;  // what all see, what any sees

  if (thread == 0) of = UnitOf(arguments, unit, first_head);
  __syncthreads();
  const auto page_at = [&](int32_t i) { return of.tables[i < of.core_pages ? 0 : 1][i]; };
  const auto copy = [&](const std::byte* page, int32_t i, int kind, int stage) {
    CopyStage<kType, kD, Block::kThreads>(of, page, i, kind, stages + stage * Layout::kStage);
  };
  const std::byte* next = nullptr;
  if (of.pages > 0) next = page_at(0);
  if (of.pages > 0) copy(next, 0, 0, 0);
  CpAsyncCommit();
  if (of.pages > 0) copy(next, 0, 1, 1);
  CpAsyncCommit();
  if (of.pages > 1) next = page_at(1);

  // Queries, and what they see. Slots without a row see what the
  // last one sees.
  for (int i = thread; i < Block::kSlots * (kD / 4); i += Block::kThreads) {
    const int slot = i / (kD / 4), k = i % (kD / 4) * 4;
    float4 q = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (slot < slots) {
      const AttentionRow& row = arguments.rows[unit.first_row + slot / pack];
      q = *reinterpret_cast<const float4*>(arguments.qkv + row.row * arguments.shape.qkv_cols() +
                                           int64_t{first_head + slot % pack} * kD + k);
    }
    PutQuery<Layout>(stages + Block::kQueries + slot * Layout::kQueryRow, k, q);
  }
  for (int slot = thread; slot < Block::kSlots; slot += Block::kThreads) {
    const int32_t row = (slot < slots ? slot : slots - 1) / pack;
    sights[slot] = SightOf(arguments, unit, of, arguments.rows[unit.first_row + row].token);
  }
  __syncthreads();
  const bool busy = warp * Block::kWarpSlots < slots;
  if (lane == 0) {
    MmaSight all = sights[warp * Block::kWarpSlots], any = all;
    for (int s = 1; s < Block::kWarpSlots; ++s) {
      const MmaSight& sight = sights[warp * Block::kWarpSlots + s];
      all = {std::min(all.core_end, sight.core_end), std::max(all.raw_begin, sight.raw_begin),
             std::min(all.raw_end, sight.raw_end)};
      any = {std::max(any.core_end, sight.core_end), std::min(any.raw_begin, sight.raw_begin),
             std::max(any.raw_end, sight.raw_end)};
    }
    summary[0] = all;
    summary[1] = any;
  }
  __syncwarp();

  MmaTile<kType, kD, kMTiles> tile;
  tile.Clear();
  int stage = 0;  // of the keys; the values are in the next
  for (int32_t i = 0; i < of.pages; ++i) {
    const bool core = i < of.core_pages;
    const SeenColumns any = ColumnsOf(summary[1], core, i);
    const bool seen = busy && any.begin < Layout::kKeys && any.end > 0;
    CpAsyncWait<1>();
    __syncthreads();  // the keys are there, and nobody reads the stage before
    const int free_stage = stage == 0 ? Block::kStages - 1 : stage - 1;
    if (i + 1 < of.pages) copy(next, i + 1, 0, free_stage);
    CpAsyncCommit();
    if (seen) {
      tile.Score(stages + Block::kQueries + warp * Block::kWarpSlots * Layout::kQueryRow,
                 stages + stage * Layout::kStage, lane);
      const SeenColumns all = ColumnsOf(summary[0], core, i);
      if (all.begin > 0 || all.end < Layout::kKeys) {
#pragma unroll
        for (int m = 0; m < kMTiles; ++m) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int slot = warp * Block::kWarpSlots + 16 * m + 8 * half + lane / 4;
            tile.Mask(m, half, ColumnsOf(sights[slot], core, i), lane);
          }
        }
      }
      tile.Soften();
      tile.Pack(stages + stage * Layout::kStage, lane);
    }
    CpAsyncWait<1>();
    __syncthreads();  // the values are there, and nobody reads the keys
    if (i + 1 < of.pages) copy(next, i + 1, 1, stage);
    CpAsyncCommit();
    if (i + 2 < of.pages) next = page_at(i + 2);
    if (seen) {
      const int values = stage == Block::kStages - 1 ? 0 : stage + 1;
      tile.Add(stages + values * Layout::kStage, lane);
    }
    stage = free_stage;
  }

#pragma unroll
  for (int m = 0; m < kMTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = tile.Total(m, half);
      const int slot = warp * Block::kWarpSlots + 16 * m + 8 * half + lane / 4;
      if (slot >= slots) continue;
      const int32_t row = slot / pack;
      const int64_t heads = arguments.shape.query_heads, head = first_head + slot % pack;
      if (unit.partial < 0) {
        const int64_t out = arguments.rows[unit.first_row + row].out;
        tile.Store(m, half, 1.0f / total, lane, arguments.out + (out * heads + head) * kD);
      } else {
        const int64_t partial = (int64_t{unit.partial} + row) * heads + head;
        tile.Store(m, half, 1.0f, lane, arguments.partial_out + partial * kD);
        if (lane % 4 == 0) {
          arguments.partial_max_sum[partial] =
              make_float2(__fmul_rn(tile.largest[m][half], Layout::kFactor), total);
        }
      }
    }
  }
}

// What one type of state needs.
template <DType kType, int kD, int kWarps, int kMTiles>
absl::Status PrepareMmaTile() {
  return AllowShared(&AttentionMma<kType, kD, kWarps, kMTiles>,
                     MmaBlock<kType, kD, kWarps, kMTiles>::kShared);
}
template <DType kType, int kD>
absl::Status PrepareMma() {
  for (const absl::Status& status :
       {PrepareMmaTile<kType, kD, 1, 1>(), PrepareMmaTile<kType, kD, 2, 1>(),
        PrepareMmaTile<kType, kD, 4, 1>(), PrepareMmaTile<kType, kD, 4, 2>()}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

template <DType kType, int kD, int kWarps, int kMTiles>
absl::Status LaunchMmaTile(const AttentionLaunch& launch, const AttentionArguments& arguments,
                           cudaStream_t stream) {
  using Block = MmaBlock<kType, kD, kWarps, kMTiles>;
  const dim3 grid(static_cast<unsigned>(launch.units),
                  static_cast<unsigned>(arguments.shape.query_heads / launch.pack));
  return Launch("attention", &AttentionMma<kType, kD, kWarps, kMTiles>, grid, dim3(Block::kThreads),
                Block::kShared, stream, arguments, launch.first_unit, launch.pack);
}
template <DType kType, int kD>
absl::Status LaunchMma(const AttentionLaunch& launch, const AttentionArguments& arguments,
                       cudaStream_t stream) {
  switch (launch.tile) {
    case 16:
      return LaunchMmaTile<kType, kD, 1, 1>(launch, arguments, stream);
    case 32:
      return LaunchMmaTile<kType, kD, 2, 1>(launch, arguments, stream);
    case 64:
      return LaunchMmaTile<kType, kD, 4, 1>(launch, arguments, stream);
    default:
      return LaunchMmaTile<kType, kD, 4, 2>(launch, arguments, stream);
  }
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_KERNEL_H_
