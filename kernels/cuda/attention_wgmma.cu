// Prefill attention on Hopper. A block is one unit of up to 128 slots and one query head: one
// warpgroup brings tiles of keys and values into a ring in shared memory, two others have 64 slots
// each and multiply. Scores of a tile are computed while the values of the one before are summed;
// the softmax of the one runs beside the product of the other.
//
// Queries and weights are rounded to bf16 for the products, scores and sums are f32. Compiled for
// sm_90a alone (CMakeLists.txt).
#include "kernels/cuda/attention_wgmma.h"

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/hopper_ptx.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kConsumers = 2;                            // warpgroups that multiply
constexpr int kThreads = (1 + kConsumers) * kWarpgroup;  // the first one loads
constexpr int kSlots = 64;                               // of a warpgroup
constexpr int kStages = 8;  // tiles in the ring: keys, values, keys, ...
constexpr int kFlying = 3;  // of them, copies under way beside those begun
constexpr int kTokens = static_cast<int>(kPageTokens);          // of a tile
constexpr int kSteps = kTokens / 16;                            // products over a tile's tokens
constexpr int kLoaderRegisters = 56, kConsumerRegisters = 224;  // 56 + 2 * 224 = 3 * 168
constexpr float kLog2E = 1.44269504088896340736f;
static_assert(kSlots * kConsumers == kUnitSlots);
static_assert(kStages > kFlying + 2 && kStages % 2 == 0);

// The block's shared memory.
template <int kHeadDim>
struct Ring {
  alignas(1024) std::byte tiles[kStages][WgmmaTile<kHeadDim>::kBytes];
  uint64_t full[kStages];   // arrivals: the loading threads
  uint64_t empty[kStages];  // the multiplying warps
  Sight sights[kUnitSlots];
};

// Tile n of the ring is used for the (n / kStages)-th time, which is phase parity n / kStages % 2.
__device__ __forceinline__ int Stage(int64_t n) { return static_cast<int>(n % kStages); }
__device__ __forceinline__ uint32_t Parity(int64_t n) {
  return static_cast<uint32_t>(n / kStages % 2);
}

// ---- The loading warpgroup ---------------------------------------------------------------------

// Begins the copy of a tile, rows of the page begin .. end-1; the others, whose memory may hold
// anything, become zero.
template <int kHeadDim>
__device__ __forceinline__ void CopyTile(const std::byte* from, int64_t begin, int64_t end,
                                         std::byte* to) {
  using Tile = WgmmaTile<kHeadDim>;
#pragma unroll
  for (int i = 0; i < Tile::kPieces / kWarpgroup; ++i) {
    const int n = static_cast<int>(threadIdx.x) % kWarpgroup + i * kWarpgroup;
    const int row = n / Tile::kRowPieces;
    CpAsync16(to + Tile::Offset(row, n % Tile::kRowPieces), from + n * 16,
              row >= begin && row < end ? 16 : 0);
  }
  CpAsyncCommit();
}

// All keys and values of the unit in order, as the ring has room for them. A tile is full when all
// threads have seen their own copies arrive.
template <int kHeadDim>
__device__ __forceinline__ void Load(const AttentionArguments& arguments, const AttentionUnit& unit,
                                     int32_t first_head, Ring<kHeadDim>& ring) {
  const StepShape& shape = arguments.shape;
  const StepItem& item = arguments.items[unit.item];
  const PageSequence pages =
      PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end);
  const auto arrived = [&ring](int64_t n) {
    FenceForProducts();
    PhaseArrive(&ring.full[Stage(n)]);
  };
  int64_t n = 0;
  for (int64_t i = 0; i < pages.size(); ++i) {
    const bool core = pages.IsCore(i);
    const int64_t page = pages.Page(i);
    const DevicePageLayout& layout = core ? shape.core : shape.raw;
    const std::byte* memory = (core ? item.core_pages : item.raw_pages)[page];
    const int64_t head = first_head / (shape.query_heads / layout.heads);
    const int64_t begin = (core ? unit.core_begin : unit.raw_begin) - page * kPageTokens;
    const int64_t end = (core ? unit.core_end : unit.raw_end) - page * kPageTokens;
#pragma unroll
    for (int values = 0; values < 2; ++values, ++n) {
      PhaseWait(&ring.empty[Stage(n)], Parity(n) ^ 1);
      CopyTile<kHeadDim>(memory + (values != 0 ? layout.values(arguments.layer, head)
                                               : layout.keys(arguments.layer, head)),
                         begin, end, ring.tiles[Stage(n)]);
      if (n >= kFlying) {
        CpAsyncWait<kFlying>();
        arrived(n - kFlying);
      }
    }
  }
  CpAsyncWait<0>();
  for (int64_t rest = n < kFlying ? 0 : n - kFlying; rest < n; ++rest) arrived(rest);
}

// ---- The multiplying warpgroups ----------------------------------------------------------------

// One thread's part of a warpgroup's 64 slots: of its two slots, the elements that hopper_ptx.h
// says.
template <int kHeadDim>
struct Part {
  uint32_t queries[kHeadDim / 16][4];
  uint32_t weights[kSteps][4];
  float scores[kTokens / 2];
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
                                            int32_t first_head, Part<kHeadDim>& part) {
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

// scores = queries keys^T, begun.
template <int kHeadDim>
__device__ __forceinline__ void BeginScores(const std::byte* keys, Part<kHeadDim>& part) {
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

// out += weights values, begun.
template <int kHeadDim>
__device__ __forceinline__ void BeginSums(const std::byte* values, Part<kHeadDim>& part) {
  using Tile = WgmmaTile<kHeadDim>;
  const uint64_t tile = ProductTile<Tile::kRowBytes>(values, Tile::kBlockBytes, Tile::kGroupBytes);
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
    Product<true>(part.out, part.weights[k], AdvanceTile(tile, 2 * k * Tile::kGroupBytes), true);
  }
  ProductsCommit();
}

// Takes out the scores of tokens that a slot does not see. `first`: the tile's first token.
template <int kHeadDim>
__device__ __forceinline__ void Mask(bool core, int64_t first, const Sight* sights,
                                     Part<kHeadDim>& part) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const Sight sight = sights[FirstSlot() + 8 * half];
    // Tokens of the tile begin .. end-1 are seen.
    const int64_t begin = core ? 0 : sight.raw_begin - first;
    const int64_t end = (core ? sight.cores : sight.raw_end) - first;
    const int low = begin < 0 ? 0 : begin < kTokens ? static_cast<int>(begin) : kTokens;
    const int high = end < 0 ? 0 : end < kTokens ? static_cast<int>(end) : kTokens;
#pragma unroll
    for (int i = 0; i < kTokens / 4; ++i) {
      const int token = i / 2 * 8 + 2 * Quarter() + i % 2;
      float& score = part.scores[i / 2 * 4 + half * 2 + i % 2];
      if (token < low || token >= high) score = -INFINITY;
    }
  }
}

// Scores to weights, by the largest score so far. fading: by how much earlier sums count less.
template <int kHeadDim>
__device__ __forceinline__ void Soften(float scale, Part<kHeadDim>& part, float (&fading)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = part.largest[half];
#pragma unroll
    for (int i = 0; i < kTokens / 4; ++i) {
      largest = fmaxf(largest, part.scores[i / 2 * 4 + half * 2 + i % 2]);
    }
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
    const float reference = largest == -INFINITY ? 0.0f : largest * scale;
    fading[half] = Exp2Approximate(part.largest[half] * scale - reference);
    part.largest[half] = largest;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kTokens / 4; ++i) {
      float& score = part.scores[i / 2 * 4 + half * 2 + i % 2];
      score = Exp2Approximate(score * scale - reference);
      sum += score;
    }
    part.weight[half] = part.weight[half] * fading[half] + sum;
  }
}

// The softened scores as the next products take them.
template <int kHeadDim>
__device__ __forceinline__ void RoundWeights(Part<kHeadDim>& part) {
#pragma unroll
  for (int i = 0; i < kTokens / 4; ++i) {
    part.weights[i / 4][i % 4] = PackBf16(part.scores[2 * i], part.scores[2 * i + 1]);
  }
}

template <int kHeadDim>
__device__ __forceinline__ void Fade(const float (&fading)[2], Part<kHeadDim>& part) {
#pragma unroll
  for (int i = 0; i < kHeadDim / 2; ++i) part.out[i] *= fading[i / 2 % 2];
}

// The results of the thread's slots, or their partial results.
template <int kHeadDim>
__device__ __forceinline__ void Store(const AttentionArguments& arguments,
                                      const AttentionUnit& unit, int32_t pack, int32_t first_head,
                                      float scale, Part<kHeadDim>& part) {
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

template <int kHeadDim>
__device__ __forceinline__ void Multiply(const AttentionArguments& arguments,
                                         const AttentionUnit& unit, int32_t pack,
                                         int32_t first_head, Ring<kHeadDim>& ring) {
  const PageSequence pages =
      PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end);
  const float scale = kLog2E / sqrtf(static_cast<float>(kHeadDim));
  Part<kHeadDim> part;
  LoadQueries<kHeadDim>(arguments, unit, pack, first_head, part);
#pragma unroll
  for (int i = 0; i < kHeadDim / 2; ++i) part.out[i] = 0.0f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    part.largest[half] = -INFINITY;
    part.weight[half] = 0.0f;
  }
  // What all slots of the warp see: in a prefill unit, tokens rise from slot to slot.
  const int32_t first_slot = FirstSlot() / 16 * 16;
  const Sight all = Both(ring.sights[first_slot], ring.sights[first_slot + 15]);
  const auto await = [&ring](int64_t n) {
    PhaseWait(&ring.full[Stage(n)], Parity(n));
    FenceForProducts();
  };
  const auto release = [&ring](int64_t n) {
    if (threadIdx.x % 32 == 0) PhaseArrive(&ring.empty[Stage(n)]);
  };
  float fading[2];
  const auto soften = [&](int64_t i) {
    const bool core = pages.IsCore(i);
    const int64_t page = pages.Page(i);
    if (!(core ? all.WholeCorePage(page) : all.WholeRawPage(page))) {
      Mask<kHeadDim>(core, page * kPageTokens, ring.sights, part);
    }
    Soften<kHeadDim>(scale, part, fading);
  };

  // Keys of page i are tile 2 i of the ring, its values the next.
  await(0);
  ProductsFence();
  BeginScores<kHeadDim>(ring.tiles[0], part);
  ProductsWait<0>();
  Pin(part.scores);
  release(0);
  soften(0);
  RoundWeights<kHeadDim>(part);
  int64_t n = 1;  // the values whose weights are at hand
#pragma unroll 1
  for (int64_t i = 1; i < pages.size(); ++i, n += 2) {
    await(n + 1);
    Pin(part.out);
    ProductsFence();
    BeginScores<kHeadDim>(ring.tiles[Stage(n + 1)], part);
    await(n);
    ProductsFence();
    BeginSums<kHeadDim>(ring.tiles[Stage(n)], part);
    ProductsWait<1>();
    Pin(part.scores);
    release(n + 1);
    soften(i);
    ProductsWait<0>();
    Pin(part.out);
    release(n);
    Fade<kHeadDim>(fading, part);
    RoundWeights<kHeadDim>(part);
  }
  await(n);
  Pin(part.out);
  ProductsFence();
  BeginSums<kHeadDim>(ring.tiles[Stage(n)], part);
  ProductsWait<0>();
  Pin(part.out);
  Store<kHeadDim>(arguments, unit, pack, first_head, scale, part);
}

// Grid: units, query heads / pack.
template <int kHeadDim>
__global__ void __launch_bounds__(kThreads, 1)
    AttentionWgmma(const AttentionLaunch launch, const AttentionArguments arguments) {
  auto& ring = *DynamicShared<Ring<kHeadDim>>();
  const AttentionUnit unit = arguments.units[launch.first_unit + static_cast<int32_t>(blockIdx.x)];
  if (unit.rows == 0) return;
  const int32_t first_head = static_cast<int32_t>(blockIdx.y) * launch.pack;
  const int32_t slots = unit.rows * launch.pack;
  const int consumers = slots > kSlots ? 2 : 1;
  const int32_t thread = static_cast<int32_t>(threadIdx.x);
  if (thread < kUnitSlots) {
    // A slot that is not used sees what the last one does.
    const int32_t slot = thread < slots ? thread : slots - 1;
    ring.sights[thread] =
        SeenBy(arguments.shape.policy, arguments.rows[unit.first_row + slot / launch.pack].token);
  }
  if (thread == 0) {
    for (int i = 0; i < kStages; ++i) {
      PhaseInit(&ring.full[i], kWarpgroup);
      PhaseInit(&ring.empty[i], static_cast<uint32_t>(consumers * kWarpgroup / 32));
    }
  }
  __syncthreads();
  const int warpgroup = thread / kWarpgroup;
  if (warpgroup == 0) {
    KeepRegisters<kLoaderRegisters>();
    Load<kHeadDim>(arguments, unit, first_head, ring);
  } else {
    TakeRegisters<kConsumerRegisters>();
    if (warpgroup <= consumers) {
      Multiply<kHeadDim>(arguments, unit, launch.pack, first_head, ring);
    }
  }
}

template <int kHeadDim>
absl::Status Run(const AttentionLaunch& launch, const AttentionArguments& arguments,
                 cudaStream_t stream) {
  return Launch("attention by wgmma", &AttentionWgmma<kHeadDim>,
                dim3(static_cast<unsigned>(launch.units),
                     static_cast<unsigned>(arguments.shape.query_heads / launch.pack)),
                dim3(kThreads), sizeof(Ring<kHeadDim>), stream, launch, arguments);
}

}  // namespace

bool WgmmaTakes(const StepShape& shape, const AttentionLaunch& launch, int compute_capability) {
  const int32_t d = shape.head_dim;
  return compute_capability == 90 && launch.prefill && launch.tile <= kUnitSlots &&
         shape.raw.dtype == DType::kBF16 && (d == 64 || d == 96 || d == 128);
}

absl::Status PrepareAttentionWgmma(const StepShape& shape) {
  switch (shape.head_dim) {
    case 64:
      return AllowShared(&AttentionWgmma<64>, sizeof(Ring<64>));
    case 96:
      return AllowShared(&AttentionWgmma<96>, sizeof(Ring<96>));
    default:
      return AllowShared(&AttentionWgmma<128>, sizeof(Ring<128>));
  }
}

absl::Status LaunchAttentionWgmma(const AttentionLaunch& launch,
                                  const AttentionArguments& arguments, cudaStream_t stream) {
  switch (arguments.shape.head_dim) {
    case 64:
      return Run<64>(launch, arguments, stream);
    case 96:
      return Run<96>(launch, arguments, stream);
    default:
      return Run<128>(launch, arguments, stream);
  }
}

}  // namespace longleaf::kernels::cuda
