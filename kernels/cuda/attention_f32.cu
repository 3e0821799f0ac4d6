// Attention in f32: a block takes some slots of a unit, kSlots to a warp, and goes through the
// unit's keys by half pages. A lane holds the scores of one key of the half page, and of the sums
// the columns lane, lane + 32, ...
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention_elements.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/attention_unit.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kKeys = 32;  // of a tile: one a lane
constexpr float kLog2E = 1.44269504088896340736f;

// Floats from one row to the next in shared memory: rows of 32 lanes begin in different banks.
template <int kColumns>
constexpr int kStride = kColumns * 32 + 4;

// The block's shared memory.
template <int kColumns, int kSlots>
struct Tiles {
  float keys[kKeys][kStride<kColumns>];
  float values[kKeys][kStride<kColumns>];
  float queries[kWarps * kSlots][kStride<kColumns>];
  float weights[kWarps * kSlots][kKeys];
  Sight sights[kWarps * kSlots];
};

// Running softmax of a warp's slots.
template <int kColumns, int kSlots>
struct Sums {
  float largest[kSlots];        // score in units of log2; the same in all lanes
  float weight[kSlots];         // of this lane's keys
  float out[kSlots][kColumns];  // columns lane + 32 c
};

// tile[kKeys][kStride] = rows first .. first+kKeys-1 of `from`; zero in those outside begin ..
// end-1, whose memory may hold anything, and in columns from head_dim on.
template <DType kType, int kColumns>
__device__ void LoadTile(const HeadTile& from, int64_t first, int64_t begin, int64_t end,
                         int32_t head_dim, float (*tile)[kStride<kColumns>]) {
  constexpr int kPairs = kColumns * 16;
  for (int i = static_cast<int>(threadIdx.x); i < kKeys * kPairs; i += kThreads) {
    const int row = i / kPairs, pair = i % kPairs;
    float2 both = make_float2(0.0f, 0.0f);
    if (first + row >= begin && first + row < end && 2 * pair < head_dim) {
      both = ReadPair<kType>(from, first + row, head_dim, pair);
    }
    tile[row][2 * pair] = both.x;
    tile[row][2 * pair + 1] = both.y;
  }
}

template <int kColumns>
__device__ void LoadTile(const DevicePageLayout& layout, const HeadTile& from, int64_t first,
                         int64_t begin, int64_t end, float (*tile)[kStride<kColumns>]) {
  const int32_t d = static_cast<int32_t>(layout.head_dim);
  switch (layout.dtype) {
    case DType::kBF16:
      LoadTile<DType::kBF16, kColumns>(from, first, begin, end, d, tile);
      break;
    case DType::kI8:
      LoadTile<DType::kI8, kColumns>(from, first, begin, end, d, tile);
      break;
    default:
      LoadTile<DType::kF32, kColumns>(from, first, begin, end, d, tile);
      break;
  }
}

// Queries and sights of the block's slots, of which `slots` are in use.
template <int kColumns, int kSlots>
__device__ void LoadQueries(const AttentionArguments& arguments, const AttentionUnit& unit,
                            int32_t pack, int32_t first_slot, int32_t slots,
                            Tiles<kColumns, kSlots>& tiles) {
  const int32_t d = arguments.shape.head_dim;
  const int32_t first_head = static_cast<int32_t>(blockIdx.y) * pack;
  for (int32_t slot = static_cast<int32_t>(threadIdx.x) / 32; slot < kWarps * kSlots;
       slot += kWarps) {
    const float* from = nullptr;
    Sight sight;  // of an unused slot: nothing
    if (slot < slots) {
      const int32_t s = first_slot + slot;
      const AttentionRow row = arguments.rows[unit.first_row + s / pack];
      sight = SeenBy(arguments.shape.policy, row.token);
      from =
          arguments.qkv + row.row * arguments.shape.qkv_cols() + int64_t{first_head + s % pack} * d;
    }
    for (int32_t k = static_cast<int32_t>(threadIdx.x) % 32; k < kColumns * 32; k += 32) {
      tiles.queries[slot][k] = from != nullptr && k < d ? from[k] : 0.0f;
    }
    if (threadIdx.x % 32 == 0) tiles.sights[slot] = sight;
  }
}

// Takes the tile in shared memory, whose first key is token `first` of the cores or raw tokens,
// into the sums of this warp's slots.
template <int kColumns, int kSlots>
__device__ void AddTile(bool core, int64_t first, int32_t head_dim, float scale,
                        Tiles<kColumns, kSlots>& tiles, Sums<kColumns, kSlots>& sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int slot0 = static_cast<int>(threadIdx.x) / 32 * kSlots;
  float scores[kSlots] = {};
#pragma unroll 4
  for (int k = 0; k < head_dim; k += 4) {
    const float4 key = *reinterpret_cast<const float4*>(&tiles.keys[lane][k]);
#pragma unroll
    for (int s = 0; s < kSlots; ++s) {
      const float4 query = *reinterpret_cast<const float4*>(&tiles.queries[slot0 + s][k]);
      scores[s] += query.x * key.x;
      scores[s] += query.y * key.y;
      scores[s] += query.z * key.z;
      scores[s] += query.w * key.w;
    }
  }
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    const Sight& sight = tiles.sights[slot0 + s];
    const bool seen = core ? sight.Core(first + lane) : sight.Raw(first + lane);
    const float score = seen ? scores[s] * scale : -INFINITY;
    float largest = score;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, step));
    }
    largest = fmaxf(largest, sums.largest[s]);
    const float reference = largest == -INFINITY ? 0.0f : largest;
    const float weight = seen ? exp2f(score - reference) : 0.0f;
    const float fading = exp2f(sums.largest[s] - reference);
    sums.largest[s] = largest;
    sums.weight[s] = sums.weight[s] * fading + weight;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) sums.out[s][c] *= fading;
    tiles.weights[slot0 + s][lane] = weight;
  }
  __syncwarp();
#pragma unroll 1
  for (int j = 0; j < kKeys; j += 4) {
    float weights[kSlots][4];
#pragma unroll
    for (int s = 0; s < kSlots; ++s) {
      const float4 four = *reinterpret_cast<const float4*>(&tiles.weights[slot0 + s][j]);
      weights[s][0] = four.x;
      weights[s][1] = four.y;
      weights[s][2] = four.z;
      weights[s][3] = four.w;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int c = 0; c < kColumns; ++c) {
        const float value = tiles.values[j + i][lane + 32 * c];
#pragma unroll
        for (int s = 0; s < kSlots; ++s) sums.out[s][c] += weights[s][i] * value;
      }
    }
  }
  __syncwarp();
}

// The results of this warp's slots, or their partial results.
template <int kColumns, int kSlots>
__device__ void Store(const AttentionArguments& arguments, const AttentionUnit& unit, int32_t pack,
                      int32_t first_slot, int32_t slots, Sums<kColumns, kSlots>& sums) {
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32;
  const int32_t slot0 = static_cast<int32_t>(threadIdx.x) / 32 * kSlots;
  const int32_t d = arguments.shape.head_dim, heads = arguments.shape.query_heads;
#pragma unroll
  for (int32_t s = 0; s < kSlots; ++s) {
    float weight = sums.weight[s];
#pragma unroll
    for (int step = 16; step > 0; step /= 2) weight += __shfl_xor_sync(0xffffffffu, weight, step);
    if (slot0 + s >= slots) continue;
    const int32_t slot = first_slot + slot0 + s;
    const int32_t head = static_cast<int32_t>(blockIdx.y) * pack + slot % pack;
    float* to = nullptr;
    float factor = 1.0f;
    if (unit.partial < 0) {
      const int32_t row = arguments.rows[unit.first_row + slot / pack].out;
      to = arguments.out + (int64_t{row} * heads + head) * d;
      factor = 1.0f / weight;
    } else {
      const int64_t at = int64_t{unit.partial + slot / pack} * heads + head;
      to = arguments.partial_out + at * d;
      if (lane == 0) arguments.partial_max_sum[at] = make_float2(sums.largest[s], weight);
    }
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      if (lane + 32 * c < d) to[lane + 32 * c] = sums.out[s][c] * factor;
    }
  }
}

// Grid: units, query heads / pack, parts of a unit's slots. kColumns * 32 >= head_dim. (With three
// columns, two blocks of a multiprocessor would cost spilled registers on sm_90a.)
template <int kColumns, int kSlots>
__global__ void __launch_bounds__(kThreads, kSlots == 2 && kColumns != 3 ? 2 : 1)
    AttentionF32(const AttentionLaunch launch, const AttentionArguments arguments) {
  auto& tiles = *DynamicShared<Tiles<kColumns, kSlots>>();
  const AttentionUnit unit = arguments.units[launch.first_unit + static_cast<int32_t>(blockIdx.x)];
  const StepShape& shape = arguments.shape;
  const int32_t first_slot = static_cast<int32_t>(blockIdx.z) * (kWarps * kSlots);
  const int32_t slots = unit.rows * launch.pack - first_slot;
  if (slots <= 0) return;

  LoadQueries<kColumns, kSlots>(arguments, unit, launch.pack, first_slot, slots, tiles);
  Sums<kColumns, kSlots> sums;
#pragma unroll
  for (int s = 0; s < kSlots; ++s) {
    sums.largest[s] = -INFINITY;
    sums.weight[s] = 0.0f;
#pragma unroll
    for (int c = 0; c < kColumns; ++c) sums.out[s][c] = 0.0f;
  }
  const float scale = kLog2E / sqrtf(static_cast<float>(shape.head_dim));
  const int32_t first_head = static_cast<int32_t>(blockIdx.y) * launch.pack;
  const PageSequence pages =
      PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end);
  for (int64_t i = 0; i < pages.size(); ++i) {
    const bool core = pages.IsCore(i);
    const int64_t page = pages.Page(i);
    const DevicePageLayout& layout = core ? shape.core : shape.raw;
    const StepItem& item = arguments.items[unit.item];
    const std::byte* memory = (core ? item.core_pages : item.raw_pages)[page];
    const int64_t head = first_head / (shape.query_heads / layout.heads);
    const int64_t begin = (core ? unit.core_begin : unit.raw_begin) - page * kPageTokens;
    const int64_t end = (core ? unit.core_end : unit.raw_end) - page * kPageTokens;
    const HeadTile keys = KeysOf(memory, layout, arguments.layer, head);
    const HeadTile values = ValuesOf(memory, layout, arguments.layer, head);
    for (int64_t first = 0; first < kPageTokens; first += kKeys) {
      if (first + kKeys <= begin || first >= end) continue;
      __syncthreads();
      LoadTile<kColumns>(layout, keys, first, begin, end, tiles.keys);
      LoadTile<kColumns>(layout, values, first, begin, end, tiles.values);
      __syncthreads();
      AddTile<kColumns, kSlots>(core, page * kPageTokens + first, shape.head_dim, scale, tiles,
                                sums);
    }
  }
  Store<kColumns, kSlots>(arguments, unit, launch.pack, first_slot, slots, sums);
}

template <int kColumns, int kSlots>
absl::Status Allow() {
  return AllowShared(&AttentionF32<kColumns, kSlots>, sizeof(Tiles<kColumns, kSlots>));
}
// Few slots a warp where there are few: as many warps as can be have some.
template <int kColumns>
absl::Status AllowBoth() {
  const absl::Status status = Allow<kColumns, 2>();
  return status.ok() ? Allow<kColumns, 8>() : status;
}

template <int kColumns, int kSlots>
absl::Status Run(const AttentionLaunch& launch, const AttentionArguments& arguments,
                 cudaStream_t stream) {
  constexpr int kBlockSlots = kWarps * kSlots;
  const dim3 grid(static_cast<unsigned>(launch.units),
                  static_cast<unsigned>(arguments.shape.query_heads / launch.pack),
                  static_cast<unsigned>((launch.tile + kBlockSlots - 1) / kBlockSlots));
  return Launch("attention in f32", &AttentionF32<kColumns, kSlots>, grid, dim3(kThreads),
                sizeof(Tiles<kColumns, kSlots>), stream, launch, arguments);
}
template <int kColumns>
absl::Status RunOne(const AttentionLaunch& launch, const AttentionArguments& arguments,
                    cudaStream_t stream) {
  return launch.tile <= 16 ? Run<kColumns, 2>(launch, arguments, stream)
                           : Run<kColumns, 8>(launch, arguments, stream);
}

}  // namespace

// Beyond 128 columns, more than two slots a warp would not fit into the 99 KB of sm_89.
absl::Status PrepareAttentionF32(const StepShape& shape) {
  const int32_t d = shape.head_dim;
  if (d <= 0 || d % 2 != 0 || d > 256) {
    return absl::InvalidArgumentError("attention: head_dim is not an even number up to 256");
  }
  if (d <= 32) return AllowBoth<1>();
  if (d <= 64) return AllowBoth<2>();
  if (d <= 96) return AllowBoth<3>();
  if (d <= 128) return AllowBoth<4>();
  return Allow<8, 2>();
}

absl::Status LaunchAttentionF32(const AttentionLaunch& launch, const AttentionArguments& arguments,
                                cudaStream_t stream) {
  const int32_t d = arguments.shape.head_dim;
  if (d <= 32) return RunOne<1>(launch, arguments, stream);
  if (d <= 64) return RunOne<2>(launch, arguments, stream);
  if (d <= 96) return RunOne<3>(launch, arguments, stream);
  if (d <= 128) return RunOne<4>(launch, arguments, stream);
  return Run<8, 2>(launch, arguments, stream);
}

}  // namespace longleaf::kernels::cuda
