// What one thread of a multiplying warpgroup of the Hopper kernel holds, and does with it.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_WGMMA_PART_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_WGMMA_PART_H_

#include <cuda_runtime.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/attention_wgmma.h"
#include "kernels/cuda/hopper_ptx.h"
#include "kernels/cuda/ptx.h"

namespace longleaf::kernels::cuda {

inline constexpr int kWgmmaTokens = static_cast<int>(kPageTokens);  // of a tile
inline constexpr int kWgmmaSteps = kWgmmaTokens / 16;               // products over them

// One thread's part of a warpgroup's 64 slots: of its two slots, the elements that hopper_ptx.h
// says.
template <int kHeadDim>
struct WgmmaPart {
  uint32_t queries[kHeadDim / 16][4];
  uint32_t weights[kWgmmaSteps][4];
  float scores[kWgmmaTokens / 2];
  float out[kHeadDim / 2];
  float largest[2];  // score, as the product gave it
  float weight[2];   // sum over this thread's tokens
};

// The thread's first slot of the unit; the other is 8 further on.
__device__ __forceinline__ int32_t FirstSlot() {
  const int32_t thread = static_cast<int32_t>(threadIdx.x) - kWarpgroup;
  return thread / 32 * 16 + thread % 32 / 4;
}
__device__ __forceinline__ int32_t Quarter() { return static_cast<int32_t>(threadIdx.x) % 4; }

template <int kHeadDim>
__device__ __forceinline__ void LoadQueries(const AttentionArguments& arguments,
                                            const AttentionUnit& unit, int32_t pack,
                                            int32_t first_head, WgmmaPart<kHeadDim>& part) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int32_t slot = FirstSlot() + 8 * half;
    const float* from = nullptr;
    if (slot < unit.rows * pack) {
      const AttentionRow row = arguments.rows[unit.first_row + slot / pack];
      from = arguments.qkv + row.row * arguments.shape.qkv_cols() +
             int64_t{first_head + slot % pack} * kHeadDim;
    }
#pragma unroll
    for (int k = 0; k < kHeadDim / 8; ++k) {
      float2 two = make_float2(0.0f, 0.0f);
      if (from != nullptr) two = *reinterpret_cast<const float2*>(from + 8 * k + 2 * Quarter());
      part.queries[k / 2][k % 2 * 2 + half] = PackBf16(two.x, two.y);
    }
  }
}

// scores = queries keys^T, begun: one group of products.
template <int kHeadDim>
__device__ __forceinline__ void BeginScores(const std::byte* keys, WgmmaPart<kHeadDim>& part) {
  using Tile = WgmmaTile<kHeadDim>;
  const uint64_t tile = ProductTile<Tile::kRowBytes>(keys, 16, Tile::kGroupBytes);
#pragma unroll
  for (int k = 0; k < kHeadDim / 16; ++k) {
    const int at =
        k * 16 / Tile::kBlockColumns * Tile::kBlockBytes + k * 16 % Tile::kBlockColumns * 2;
    Product<false>(part.scores, part.queries[k], AdvanceTile(tile, at), k > 0);
  }
  ProductsCommit();
}

// out += weights values, begun: one group of products.
template <int kHeadDim>
__device__ __forceinline__ void BeginSums(const std::byte* values, WgmmaPart<kHeadDim>& part) {
  using Tile = WgmmaTile<kHeadDim>;
  const uint64_t tile = ProductTile<Tile::kRowBytes>(values, Tile::kBlockBytes, Tile::kGroupBytes);
#pragma unroll
  for (int k = 0; k < kWgmmaSteps; ++k) {
    Product<true>(part.out, part.weights[k], AdvanceTile(tile, 2 * k * Tile::kGroupBytes), true);
  }
  ProductsCommit();
}

// Takes out the scores of tokens that a slot does not see. `first`: the tile's first token.
template <int kHeadDim>
__device__ __forceinline__ void Mask(bool core, int64_t first, const Sight* sights,
                                     WgmmaPart<kHeadDim>& part) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const Sight sight = sights[FirstSlot() + 8 * half];
    // Tokens of the tile begin .. end-1 are seen.
    const int64_t begin = core ? 0 : sight.raw_begin - first;
    const int64_t end = (core ? sight.cores : sight.raw_end) - first;
    const int low = begin < 0 ? 0 : begin < kWgmmaTokens ? static_cast<int>(begin) : kWgmmaTokens;
    const int high = end < 0 ? 0 : end < kWgmmaTokens ? static_cast<int>(end) : kWgmmaTokens;
#pragma unroll
    for (int i = 0; i < kWgmmaTokens / 4; ++i) {
      const int token = i / 2 * 8 + 2 * Quarter() + i % 2;
      float& score = part.scores[i / 2 * 4 + half * 2 + i % 2];
      if (token < low || token >= high) score = -INFINITY;
    }
  }
}

// Scores to weights, by the largest score so far. fading: by how much earlier sums count less.
template <int kHeadDim>
__device__ __forceinline__ void Soften(float scale, WgmmaPart<kHeadDim>& part, float (&fading)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = part.largest[half];
#pragma unroll
    for (int i = 0; i < kWgmmaTokens / 4; ++i) {
      largest = fmaxf(largest, part.scores[i / 2 * 4 + half * 2 + i % 2]);
    }
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
    const float reference = largest == -INFINITY ? 0.0f : largest * scale;
    fading[half] = Exp2Approximate(part.largest[half] * scale - reference);
    part.largest[half] = largest;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kWgmmaTokens / 4; ++i) {
      float& score = part.scores[i / 2 * 4 + half * 2 + i % 2];
      score = Exp2Approximate(score * scale - reference);
      sum += score;
    }
    part.weight[half] = part.weight[half] * fading[half] + sum;
  }
}

// The softened scores as the next products take them.
template <int kHeadDim>
__device__ __forceinline__ void RoundWeights(WgmmaPart<kHeadDim>& part) {
#pragma unroll
  for (int i = 0; i < kWgmmaTokens / 4; ++i) {
    part.weights[i / 4][i % 4] = PackBf16(part.scores[2 * i], part.scores[2 * i + 1]);
  }
}

template <int kHeadDim>
__device__ __forceinline__ void Fade(const float (&fading)[2], WgmmaPart<kHeadDim>& part) {
#pragma unroll
  for (int i = 0; i < kHeadDim / 2; ++i) part.out[i] *= fading[i / 2 % 2];
}

// The results of the thread's slots, or their partial results.
template <int kHeadDim>
__device__ __forceinline__ void Store(const AttentionArguments& arguments,
                                      const AttentionUnit& unit, int32_t pack, int32_t first_head,
                                      float scale, WgmmaPart<kHeadDim>& part) {
  const int32_t heads = arguments.shape.query_heads;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float weight = part.weight[half];
    weight += __shfl_xor_sync(0xffffffffu, weight, 1);
    weight += __shfl_xor_sync(0xffffffffu, weight, 2);
    const int32_t slot = FirstSlot() + 8 * half;
    if (slot >= unit.rows * pack) continue;
    const int32_t head = first_head + slot % pack;
    float* to = nullptr;
    float factor = 1.0f;
    if (unit.partial < 0) {
      const int32_t row = arguments.rows[unit.first_row + slot / pack].out;
      to = arguments.out + (int64_t{row} * heads + head) * kHeadDim;
      factor = 1.0f / weight;
    } else {
      const int64_t at = int64_t{unit.partial + slot / pack} * heads + head;
      to = arguments.partial_out + at * kHeadDim;
      if (Quarter() == 0) {
        const float largest = part.largest[half];
        arguments.partial_max_sum[at] =
            make_float2(largest == -INFINITY ? largest : largest * scale, weight);
      }
    }
#pragma unroll
    for (int k = 0; k < kHeadDim / 8; ++k) {
      *reinterpret_cast<float2*>(to + 8 * k + 2 * Quarter()) =
          make_float2(part.out[4 * k + 2 * half] * factor, part.out[4 * k + 2 * half + 1] * factor);
    }
  }
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_WGMMA_PART_H_
