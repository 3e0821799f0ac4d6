// Searches over a row of logits by one block, without sorting it.
//
// Both add up a value of each token, an unsigned integer: a count, or a probability in fixed point
// (sampling.cu). So sums are exact, in any order, and whatever is found does not depend on how the
// threads ran.
#ifndef LONGLEAF_KERNELS_CUDA_SAMPLING_SEARCH_H_
#define LONGLEAF_KERNELS_CUDA_SAMPLING_SEARCH_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/row_reduce.h"

namespace longleaf::kernels::cuda {

using Sum = unsigned long long;  // what atomics and shuffles take
static_assert(sizeof(Sum) == 8);

struct LogitRow {
  const float* logits = nullptr;  // [vocab]
  int32_t vocab = 0;
};

// Rises as the logit falls; zeros of both signs are equal. Not for NaN.
__device__ __forceinline__ uint32_t RankKey(float logit) {
  const uint32_t bits = logit == 0 ? 0 : __float_as_uint(logit);
  return (bits >> 31) != 0 ? bits : ~bits & 0x7fffffffu;
}

// Calls f(id, logit) for the ids first .. end-1 of a row, shared out among `count` threads of which
// this is number `index`. `first` is a multiple of 4.
template <typename F>
__device__ __forceinline__ void ForEachLogit(const LogitRow& row, int32_t first, int32_t end,
                                             int32_t index, int32_t count, F f) {
  if (reinterpret_cast<uintptr_t>(row.logits) % 16 == 0) {
    const int32_t pieces = (end - first) / 4;
#pragma unroll 2
    for (int32_t i = index; i < pieces; i += count) {
      const int32_t id = first + 4 * i;
      const float4 all = *reinterpret_cast<const float4*>(row.logits + id);
      f(id, all.x);
      f(id + 1, all.y);
      f(id + 2, all.z);
      f(id + 3, all.w);
    }
    first += 4 * pieces;
  }
#pragma unroll 2
  for (int32_t id = first + index; id < end; id += count) f(id, row.logits[id]);
}
template <typename F>
__device__ __forceinline__ void ForEachLogit(const LogitRow& row, F f) {
  ForEachLogit(row, 0, row.vocab, static_cast<int32_t>(threadIdx.x),
               static_cast<int32_t>(blockDim.x), f);
}

// Warp: the sum of the values of this lane and those before it.
__device__ __forceinline__ Sum SumUpTo(Sum value) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int step = 1; step < 32; step *= 2) {
    const Sum before = __shfl_up_sync(0xffffffffu, value, step);
    if (lane >= step) value += before;
  }
  return value;
}

// Warp: the first lane at which `reached` holds; 32 if none.
__device__ __forceinline__ int FirstLane(bool reached) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  return WarpReduce(reached ? lane : 32, Least());
}

// ---- By rank -----------------------------------------------------------------------------------

// Shared memory of the search by rank: sums of 64 bits in two halves, since shared memory adds 32
// bits at a time.
struct RankBins {
  static constexpr int kCount = 2048;
  uint32_t low[kCount], high[kCount];
  // What was found, for all threads.
  uint32_t bin;
  Sum before, equal;

  __device__ __forceinline__ void Add(uint32_t at, Sum value) {
    const uint32_t small = static_cast<uint32_t>(value);
    const uint32_t old = atomicAdd(&low[at], small);
    const uint32_t rest = static_cast<uint32_t>(value >> 32) + (old + small < old ? 1u : 0u);
    if (rest != 0) atomicAdd(&high[at], rest);
  }
  __device__ __forceinline__ Sum at(uint32_t i) const {
    return static_cast<Sum>(high[i]) << 32 | low[i];
  }
  // Warp: finds the first bin at which the sum of it and the bins before reaches `target` >= 1,
  // which the sum of all does.
  __device__ void Find(Sum target) {
    constexpr uint32_t kEach = kCount / 32;
    static_assert(kEach == 64);
    const uint32_t lane = threadIdx.x % 32;
    Sum mine = 0;
    // Each lane begins at another bank.
    for (uint32_t i = 0; i < kEach; ++i) mine += at(lane * kEach + (i + lane) % kEach);
    const Sum up_to = SumUpTo(mine);
    const int chunk = FirstLane(up_to >= target);
    const Sum outside = __shfl_sync(0xffffffffu, up_to - mine, chunk);
    // Two bins of the chunk for each lane.
    const uint32_t first = static_cast<uint32_t>(chunk) * kEach + 2 * lane;
    const Sum one = at(first), two = at(first + 1);
    const Sum through = outside + SumUpTo(one + two);
    const int found = FirstLane(through >= target);
    if (static_cast<int>(lane) == found) {
      const Sum ahead = through - one - two;
      const bool is_first = ahead + one >= target;
      bin = is_first ? first : first + 1;
      before = is_first ? ahead : ahead + one;
      equal = is_first ? one : two;
    }
  }
};

struct RankFound {
  uint32_t key = 0;  // RankKey
  Sum before = 0;    // sum of the values of tokens with smaller keys
  Sum equal = 0;     // of those with this key
};

// Block: the smallest key at which the sum of value(id, logit, key) over it and all smaller keys
// reaches `target`. Requires 1 <= target <= the sum of all.
template <typename Value>
__device__ RankFound FindByRank(const LogitRow& row, Sum target, RankBins& bins, Value value) {
  RankFound found;
  for (int digit = 0; digit < 3; ++digit) {  // from the top: 11, 11 and 10 bits
    const int shift = digit == 0 ? 21 : digit == 1 ? 10 : 0;
    const int bits = digit < 2 ? 11 : 10;
    for (uint32_t i = threadIdx.x; i < RankBins::kCount; i += blockDim.x) {
      bins.low[i] = bins.high[i] = 0;
    }
    __syncthreads();
    const uint32_t mask = (1u << bits) - 1;
    const uint32_t prefix = found.key;
    ForEachLogit(row, [&](int32_t id, float logit) {
      const uint32_t key = RankKey(logit);
      if (digit > 0 && key >> (shift + bits) != prefix) return;
      const Sum v = value(id, logit, key);
      if (v != 0) bins.Add(key >> shift & mask, v);
    });
    __syncthreads();
    if (threadIdx.x < 32) bins.Find(target - found.before);
    __syncthreads();
    found.key = found.key << bits | bins.bin;
    found.before += bins.before;
    found.equal = bins.equal;
    __syncthreads();
  }
  return found;
}

// ---- By id -------------------------------------------------------------------------------------

// Block: the first id at which the sum of value(id, logit) over it and all lower ids exceeds
// `target`, which the sum of all does. `parts`: shared memory of 32.
template <typename Value>
__device__ int32_t FindById(const LogitRow& row, Sum target, Sum* parts, Value value) {
  const int32_t warps = static_cast<int32_t>(blockDim.x) / 32;
  const int32_t warp = static_cast<int32_t>(threadIdx.x) / 32;
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32;
  int32_t first = 0, end = row.vocab;
  Sum before = 0;
  // Each warp adds up a part of the range; the part in which the sum is exceeded is the next range.
  constexpr int32_t kShort = 256;
  while (warps > 1 && end - first > kShort) {
    const int32_t part = ((end - first + warps - 1) / warps + 3) / 4 * 4;
    const int64_t part_first = first + int64_t{warp} * part;
    Sum mine = 0;
    if (part_first < end) {
      const int32_t from = static_cast<int32_t>(part_first);
      ForEachLogit(row, from, end - from < part ? end : from + part, lane, 32,
                   [&](int32_t id, float logit) { mine += value(id, logit); });
    }
    mine = WarpReduce(mine, Add());
    if (lane == 0) parts[warp] = mine;
    __syncthreads();
    int32_t chosen = 0;
    while (chosen + 1 < warps && before + parts[chosen] <= target) before += parts[chosen++];
    __syncthreads();
    first += chosen * part;
    end = end - first < part ? end : first + part;
  }
  // All warps go over the short range alike.
  for (int32_t at = first; at < end; at += 32) {
    const Sum mine = at + lane < end ? value(at + lane, row.logits[at + lane]) : 0;
    const Sum up_to = before + SumUpTo(mine);
    const int found = FirstLane(up_to > target);
    if (found < 32) return at + found;
    before = __shfl_sync(0xffffffffu, up_to, 31);
  }
  return end - 1;
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_SAMPLING_SEARCH_H_
