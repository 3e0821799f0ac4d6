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
#include "kernels/cuda/attention_wgmma_part.h"
#include "kernels/cuda/hopper_ptx.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kConsumers = 2;                                   // warpgroups that multiply
constexpr int kThreads = (1 + kConsumers) * kWarpgroup;         // the first one loads
constexpr int kSlots = 64;                                      // of a warpgroup
constexpr int kStages = 8;                                      // tiles in the ring
constexpr int kLoaderRegisters = 56, kConsumerRegisters = 224;  // 56 + 2 * 224 = 3 * 168
constexpr float kLog2E = 1.44269504088896340736f;
static_assert(kSlots * kConsumers == kUnitSlots);

// The block's shared memory. The keys of the unit's page i are tile 2 i of the ring, its values the
// next.
template <int kHeadDim>
struct Ring {
  alignas(1024) std::byte tiles[kStages][WgmmaTile<kHeadDim>::kBytes];
  uint64_t full[kStages];   // arrivals: the loading threads
  uint64_t empty[kStages];  // the multiplying warps
  Sight sights[kUnitSlots];
};

// Tile n is the (n / kStages)-th one in its place, which is phase parity n / kStages % 2.
__device__ __forceinline__ int Stage(int32_t n) { return n % kStages; }
__device__ __forceinline__ uint32_t Parity(int32_t n) {
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
}

// All keys and values of the unit in order, as the ring has room for them.
template <int kHeadDim>
__device__ __forceinline__ void Load(const AttentionArguments& arguments, const AttentionUnit& unit,
                                     int32_t first_head, Ring<kHeadDim>& ring) {
  const StepShape& shape = arguments.shape;
  const StepItem& item = arguments.items[unit.item];
  const PageSequence pages =
      PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end);
  int32_t n = 0;
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
      PhaseArriveWhenCopied(&ring.full[Stage(n)]);
    }
  }
}

// ---- The multiplying warpgroups ----------------------------------------------------------------

// The two warpgroups take turns at beginning products, so that one softens its scores while the
// other's products run. Barriers 1 and 2 of the block are their turns.
class Turns {
 public:
  // `both`: there are two. The first turn is that of warpgroup 1.
  __device__ explicit Turns(bool both)
      : both_(both), mine_(static_cast<int>(threadIdx.x) / kWarpgroup) {
    if (both_ && mine_ == 2) BarrierArrive(1, 2 * kWarpgroup);
  }
  __device__ void Await() const {
    if (both_) BarrierSync(mine_, 2 * kWarpgroup);
  }
  // `last`: this warpgroup will not wait for another turn. What is given after the last turn of the
  // other would never be taken.
  __device__ void Give(bool last) const {
    if (both_ && !(last && mine_ == 2)) BarrierArrive(3 - mine_, 2 * kWarpgroup);
  }

 private:
  const bool both_;
  const int mine_;
};

// Scores, softmax and sums over all `pages`, of which there is one at least.
template <int kHeadDim>
__device__ __forceinline__ void Accumulate(const PageSequence& pages, float scale, bool both,
                                           Ring<kHeadDim>& ring, WgmmaPart<kHeadDim>& part) {
  const auto count = static_cast<int32_t>(pages.size());
  // What all slots of the warp see: in a prefill unit, tokens rise from slot to slot.
  const int32_t first_slot = FirstSlot() / 16 * 16;
  const WholePages whole =
      WholePagesOf(Both(ring.sights[first_slot], ring.sights[first_slot + 15]), pages);
  // Until what the products of page i need is there: its keys, and with them, since an arrival is
  // that of all copies before, the values of the page before; behind the last page, those alone.
  const auto await = [&ring, count](int32_t i) {
    const int32_t n = i < count ? 2 * i : 2 * i - 1;
    PhaseWait(&ring.full[Stage(n)], Parity(n));
    FenceForProducts();
  };
  const auto release = [&ring](int32_t n) {
    if (threadIdx.x % 32 == 0) PhaseArrive(&ring.empty[Stage(n)]);
  };
  float fading[2];
  const auto soften = [&](int32_t i) {
    if (!whole.Has(i)) {
      Mask<kHeadDim>(pages.IsCore(i), pages.Page(i) * kPageTokens, ring.sights, part);
    }
    Soften<kHeadDim>(scale, part, fading);
  };
  const Turns turns(both);

  await(0);
  turns.Await();
  ProductsFence();
  BeginScores<kHeadDim>(ring.tiles[0], part);
  turns.Give(count == 1);
  ProductsWait<0>();
  Pin(part.scores);
  release(0);
  soften(0);
  RoundWeights<kHeadDim>(part);
  await(1);
  int32_t n = 1;  // the values whose weights are at hand
#pragma unroll 1
  for (int32_t i = 1; i < count; ++i, n += 2) {
    turns.Await();
    Pin(part.out);
    ProductsFence();
    BeginScores<kHeadDim>(ring.tiles[Stage(n + 1)], part);
    BeginSums<kHeadDim>(ring.tiles[Stage(n)], part);
    turns.Give(i + 1 == count);
    ProductsWait<1>();
    Pin(part.scores);
    release(n + 1);
    soften(i);
    // Between softmax and wait, so that the compiler keeps the one before the other.
    await(i + 1);
    ProductsWait<0>();
    Pin(part.out);
    release(n);
    Fade<kHeadDim>(fading, part);
    RoundWeights<kHeadDim>(part);
  }
  Pin(part.out);
  ProductsFence();
  BeginSums<kHeadDim>(ring.tiles[Stage(n)], part);
  ProductsWait<0>();
  Pin(part.out);
}

template <int kHeadDim>
__device__ __forceinline__ void Multiply(const AttentionArguments& arguments,
                                         const AttentionUnit& unit, int32_t pack,
                                         int32_t first_head, bool both, Ring<kHeadDim>& ring) {
  const PageSequence pages =
      PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end);
  const float scale = kLog2E / sqrtf(static_cast<float>(kHeadDim));
  WgmmaPart<kHeadDim> part;
  LoadQueries<kHeadDim>(arguments, unit, pack, first_head, part);
#pragma unroll
  for (int i = 0; i < kHeadDim / 2; ++i) part.out[i] = 0.0f;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    part.largest[half] = -INFINITY;
    part.weight[half] = 0.0f;
  }
  if (pages.size() > 0) Accumulate<kHeadDim>(pages, scale, both, ring, part);
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
      Multiply<kHeadDim>(arguments, unit, launch.pack, first_head, consumers == 2, ring);
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
