// Where a row looked: its softmax weights, summed over the query heads. Two passes over the keys,
// both in f32 and by half pages of which each lane has one key: the first finds the largest score
// and the sum of each head, the second the weights.
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention_elements.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * 32;
constexpr int kKeys = 32;  // of a tile
constexpr int64_t kTilesOfPage = kPageTokens / kKeys;
constexpr float kLog2E = 1.44269504088896340736f;

// What a row sees, in tiles.
struct Seen {
  Sight sight;
  PageSequence pages;
  __device__ int64_t tiles() const { return pages.size() * kTilesOfPage; }
};
__device__ inline Seen WhatItSees(const AttentionPolicy& policy, const AttentionMassRow& row) {
  const Sight sight = SeenBy(policy, row.token);
  return {sight, PagesBetween(0, sight.cores, sight.raw_begin, sight.raw_end)};
}

// One query head of a row, spread over a warp: lane i has the pairs i, i + 32, ... of elements.
struct Query {
  float2 pairs[4];
};
__device__ inline Query LoadQuery(const AttentionArguments& arguments, const AttentionMassRow& row,
                                  int32_t head) {
  const int32_t d = arguments.shape.head_dim;
  const auto* from = reinterpret_cast<const float2*>(
      arguments.qkv + row.row * arguments.shape.qkv_cols() + int64_t{head} * d);
  Query query{};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int32_t pair = static_cast<int32_t>(threadIdx.x) % 32 + 32 * i;
    if (2 * pair < d) query.pairs[i] = from[pair];
  }
  return query;
}

// A tile of keys of one head.
struct Tile {
  HeadTile keys;
  int64_t slot = 0;      // of its first key in the page
  int64_t position = 0;  // of its first key among those that the row sees: below 0 where it is
                         // not seen
  int32_t begin = 0;     // keys begin .. end-1 of the tile are seen
  int32_t end = 0;
};
__device__ inline Tile FindTile(const AttentionArguments& arguments, const AttentionMassRow& row,
                                const Seen& seen, int64_t index, int32_t head) {
  const int64_t i = index / kTilesOfPage;
  const bool core = seen.pages.IsCore(i);
  const int64_t page = seen.pages.Page(i);
  const StepShape& shape = arguments.shape;
  const DevicePageLayout& layout = core ? shape.core : shape.raw;
  const StepItem& item = arguments.items[row.item];
  const std::byte* memory = (core ? item.core_pages : item.raw_pages)[page];
  Tile tile;
  tile.keys = KeysOf(memory, layout, arguments.layer, head / (shape.query_heads / layout.heads));
  tile.slot = index % kTilesOfPage * kKeys;
  const int64_t first = page * kPageTokens + tile.slot;
  const int64_t seen_begin = core ? 0 : seen.sight.raw_begin;
  const int64_t seen_end = core ? seen.sight.cores : seen.sight.raw_end;
  const int64_t begin = seen_begin - first, end = seen_end - first;
  tile.begin = static_cast<int32_t>(begin < 0 ? 0 : begin < kKeys ? begin : kKeys);
  tile.end = static_cast<int32_t>(end < 0 ? 0 : end < kKeys ? end : kKeys);
  tile.position = (core ? 0 : seen.sight.cores - seen_begin) + first;
  return tile;
}

// The score of this lane's key in units of log2, -inf where it is not seen.
template <DType kType>
__device__ float Score(const Tile& tile, const Query& query, int32_t head_dim, float scale) {
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32;
  float mine = -INFINITY;
  for (int32_t key = tile.begin; key < tile.end; ++key) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int32_t pair = lane + 32 * i;
      if (2 * pair < head_dim) {
        const float2 two = ReadPair<kType>(tile.keys, tile.slot + key, head_dim, pair);
        sum += two.x * query.pairs[i].x;
        sum += two.y * query.pairs[i].y;
      }
    }
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (lane == key) mine = sum * scale;
  }
  return mine;
}

// (largest, sum of 2^(score - largest)) of two sets of scores.
__device__ inline float2 Merge(float2 a, float2 b) {
  const float largest = fmaxf(a.x, b.x);
  if (largest == -INFINITY) return make_float2(largest, a.y + b.y);
  return make_float2(largest, a.y * exp2f(a.x - largest) + b.y * exp2f(b.x - largest));
}
__device__ inline float2 MergeOfWarp(float2 mine) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    const float2 other = make_float2(__shfl_xor_sync(0xffffffffu, mine.x, step),
                                     __shfl_xor_sync(0xffffffffu, mine.y, step));
    mine = Merge(mine, other);
  }
  return mine;
}

__device__ inline float ScoreScale(int32_t head_dim) {
  return kLog2E / sqrtf(static_cast<float>(head_dim));
}

// Grid: parts, query heads, rows. max_sum[row][head][part] of the tiles that fall to the part.
template <DType kType>
__global__ void __launch_bounds__(kThreads, 2)
    MassSums(const AttentionMassRow* rows, const AttentionArguments arguments, float2* max_sum) {
  __shared__ float2 of_warps[kWarps];
  const int32_t warp = static_cast<int32_t>(threadIdx.x) / 32;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32;
  const int32_t head = static_cast<int32_t>(blockIdx.y);
  const AttentionMassRow row = rows[blockIdx.z];
  const Seen seen = WhatItSees(arguments.shape.policy, row);
  const Query query = LoadQuery(arguments, row, head);
  const int32_t d = arguments.shape.head_dim;
  const float scale = ScoreScale(d);
  float2 sums = make_float2(-INFINITY, 0.0f);
  for (int64_t t = int64_t{blockIdx.x} * kWarps + warp; t < seen.tiles();
       t += int64_t{kMassParts} * kWarps) {
    const float score = Score<kType>(FindTile(arguments, row, seen, t, head), query, d, scale);
    // The sum of one that is NaN or infinite is NaN: damage shows.
    sums = Merge(sums, make_float2(score, score == -INFINITY ? 0.0f : 1.0f + (score - score)));
  }
  sums = MergeOfWarp(sums);
  if (lane == 0) of_warps[warp] = sums;
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int i = 1; i < kWarps; ++i) sums = Merge(sums, of_warps[i]);
    max_sum[(int64_t{blockIdx.z} * gridDim.y + head) * kMassParts + blockIdx.x] = sums;
  }
}

// Grid: tiles of the row that sees most, rows. Adds the weights of the tile's keys to `mass`; heads
// are summed in an order that depends on nothing.
template <DType kType>
__global__ void __launch_bounds__(kThreads, 2)
    MassWeights(const AttentionMassRow* rows, const AttentionArguments arguments,
                const float2* max_sum, float* mass) {
  __shared__ float of_warps[kWarps][kKeys];
  const int32_t warp = static_cast<int32_t>(threadIdx.x) / 32;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32;
  const AttentionMassRow row = rows[blockIdx.y];
  const Seen seen = WhatItSees(arguments.shape.policy, row);
  if (int64_t{blockIdx.x} >= seen.tiles()) return;
  const int32_t d = arguments.shape.head_dim, heads = arguments.shape.query_heads;
  const float scale = ScoreScale(d);
  float weight = 0;
  for (int32_t head = warp; head < heads; head += kWarps) {
    const int64_t first = (int64_t{blockIdx.y} * heads + head) * kMassParts;
    const float2 sums =
        MergeOfWarp(lane < kMassParts ? max_sum[first + lane] : make_float2(-INFINITY, 0.0f));
    const Query query = LoadQuery(arguments, row, head);
    const Tile tile = FindTile(arguments, row, seen, blockIdx.x, head);
    const float score = Score<kType>(tile, query, d, scale);
    if (lane >= tile.begin && lane < tile.end) weight += exp2f(score - sums.x) / sums.y;
  }
  of_warps[warp][lane] = weight;
  __syncthreads();
  if (warp != 0) return;
  for (int i = 1; i < kWarps; ++i) weight += of_warps[i][lane];
  const Tile tile = FindTile(arguments, row, seen, blockIdx.x, 0);
  if (lane >= tile.begin && lane < tile.end) mass[row.first + tile.position + lane] += weight;
}

template <DType kType>
absl::Status Run(const AttentionMassRow* rows, int32_t count, int64_t longest,
                 const AttentionArguments& arguments, float2* max_sum, float* mass,
                 cudaStream_t stream) {
  const auto heads = static_cast<unsigned>(arguments.shape.query_heads);
  const auto rows_of_grid = static_cast<unsigned>(count);
  absl::Status status =
      Launch("attention mass", &MassSums<kType>, dim3(kMassParts, heads, rows_of_grid),
             dim3(kThreads), 0, stream, rows, arguments, max_sum);
  if (!status.ok()) return status;
  // Both the cores and the raw tokens may begin and end inside a page.
  const int64_t tiles = (longest / kPageTokens + 3) * kTilesOfPage;
  return Launch("attention mass", &MassWeights<kType>,
                dim3(static_cast<unsigned>(tiles), rows_of_grid), dim3(kThreads), 0, stream, rows,
                arguments, static_cast<const float2*>(max_sum), mass);
}

}  // namespace

absl::Status LaunchAttentionMass(const AttentionMassRow* rows, int32_t count, int64_t longest,
                                 const AttentionArguments& arguments, float2* max_sum, float* mass,
                                 cudaStream_t stream) {
  switch (arguments.shape.raw.dtype) {
    case DType::kF32:
      return Run<DType::kF32>(rows, count, longest, arguments, max_sum, mass, stream);
    case DType::kBF16:
      return Run<DType::kBF16>(rows, count, longest, arguments, max_sum, mass, stream);
    case DType::kI8:
      return Run<DType::kI8>(rows, count, longest, arguments, max_sum, mass, stream);
    default:
      return absl::InvalidArgumentError("attention mass: states of this type do not exist");
  }
}

}  // namespace longleaf::kernels::cuda
