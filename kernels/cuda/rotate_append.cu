// Rotation of queries and keys, and their way into the raw pages.
#include <algorithm>

#include "kernels/cuda/ptx.h"
#include "kernels/cuda/rotary_append_pool.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/state_row.h"

namespace longleaf::kernels::cuda {
namespace {

using absl::Status;

constexpr int kThreads = 256;

// The pairs (k, k + d/2) of one head that a lane holds: kPairs in a row where d is a multiple of 8,
// read and written by 16 bytes; else every 32nd.
constexpr int kPairs = 4;

struct Heads {
  StepView step;
  StepShape shape;
  int64_t layer = 0;
  const float* angles = nullptr;  // [R, 2, d / 2]
  float* qkv = nullptr;           // [R, (H + 2 Hkv) * d]
  int32_t lanes = 0;              // of one head, a power of two up to 32
};

// Which pairs are this lane's, within the head.
template <bool kVector>
struct PairsOf {
  int32_t lane;  // within the head
  int32_t half;  // d / 2

  __device__ __forceinline__ int32_t at(int i) const {
    return kVector ? lane * kPairs + i : lane + 32 * i;
  }
  __device__ __forceinline__ bool any() const { return at(0) < half; }

  __device__ __forceinline__ void Load(const float* from, float (&x)[kPairs]) const {
    if constexpr (kVector) {
      const float4 all =
          any() ? *reinterpret_cast<const float4*>(from + at(0)) : make_float4(0, 0, 0, 0);
      x[0] = all.x, x[1] = all.y, x[2] = all.z, x[3] = all.w;
    } else {
#pragma unroll
      for (int i = 0; i < kPairs; ++i) x[i] = at(i) < half ? from[at(i)] : 0.0f;
    }
  }
  // Rounds x and writes it to elements at(..) of `to`.
  template <DType kType>
  __device__ __forceinline__ void Store(const float (&x)[kPairs], RowRounding rounding,
                                        std::byte* to) const {
    if constexpr (kVector) {
      if (any()) {
        Piece<kType, kPairs> piece;
        piece.Round(x, rounding);
        piece.Store(to + at(0) * ElementBytes(kType));
      }
    } else {
#pragma unroll
      for (int i = 0; i < kPairs; ++i) {
        if (at(i) < half) {
          Piece<kType, 1> piece;
          const float one[1] = {x[i]};
          piece.Round(one, rounding);
          piece.Store(to + at(i) * ElementBytes(kType));
        }
      }
    }
  }
};

// A row for each blockIdx.x; its heads are dealt out to groups of `lanes` lanes, of all blockIdx.y.
template <DType kType, bool kVector>
__global__ void __launch_bounds__(kThreads) RotateAppendKernel(Heads p) {
  const int64_t row = blockIdx.x;
  const int32_t d = p.shape.head_dim, half = d / 2;
  const int32_t query_heads = p.shape.query_heads, kv_heads = p.shape.kv_heads;
  const int32_t heads = query_heads + 2 * kv_heads;
  const StepItem& item = p.step.items[p.step.row_items[row]];
  const int64_t token = item.first_token + row - item.first_row;
  const int64_t slot = token % kPageTokens;
  std::byte* const page = item.raw_pages[token / kPageTokens];
  const bool sink =
      p.shape.policy.kind == AttentionPolicy::Kind::kStreaming && token < p.shape.policy.sinks;
  std::byte* const core_page = sink ? item.core_pages[token / kPageTokens] : nullptr;

  const int32_t groups = kThreads / p.lanes;
  const PairsOf<kVector> pairs{static_cast<int32_t>(threadIdx.x) % p.lanes, half};
  float cosine[kPairs], sine[kPairs];
  pairs.Load(p.angles + row * d, cosine);
  pairs.Load(p.angles + row * d + half, sine);

  // The condition is the same for all lanes of a warp, which meet in RoundingOf.
  const int32_t warp_first = static_cast<int32_t>(threadIdx.x) / 32 * (32 / p.lanes);
  const int32_t in_warp = static_cast<int32_t>(threadIdx.x) % 32 / p.lanes;
  for (int32_t first = static_cast<int32_t>(blockIdx.y) * groups + warp_first; first < heads;
       first += groups * static_cast<int32_t>(gridDim.y)) {
    const int32_t head = first + in_warp;
    const bool mine = head < heads;
    float* const x = p.qkv + row * p.shape.qkv_cols() + int64_t{mine ? head : 0} * d;
    float low[kPairs], high[kPairs];
    pairs.Load(x, low);
    pairs.Load(x + half, high);
    if (head < query_heads + kv_heads) {
#pragma unroll
      for (int i = 0; i < kPairs; ++i) {
        const float a = low[i], b = high[i];
        low[i] = a * cosine[i] - b * sine[i];
        high[i] = b * cosine[i] + a * sine[i];
      }
    }
    float all[2 * kPairs];
#pragma unroll
    for (int i = 0; i < kPairs; ++i) all[i] = low[i], all[kPairs + i] = high[i];
    const RowRounding rounding = RoundingOf<kType>(all, p.lanes);
    if (!mine) continue;
    if (head < query_heads) {
      std::byte* const to = reinterpret_cast<std::byte*>(x);
      pairs.template Store<DType::kF32>(low, {}, to);
      pairs.template Store<DType::kF32>(high, {}, to + int64_t{half} * 4);
      continue;
    }
    const bool is_key = head < query_heads + kv_heads;
    const int32_t kv_head = head - query_heads - (is_key ? 0 : kv_heads);
    const auto write = [&](const DevicePageLayout& layout, std::byte* to_page) {
      std::byte* const to =
          to_page + slot * layout.row_bytes() +
          (is_key ? layout.keys(p.layer, kv_head) : layout.values(p.layer, kv_head));
      pairs.template Store<kType>(low, rounding, to);
      pairs.template Store<kType>(high, rounding, to + int64_t{half} * ElementBytes(kType));
      if (kType == DType::kI8 && pairs.lane == 0) {
        const int64_t scales =
            is_key ? layout.key_scales(p.layer, kv_head) : layout.value_scales(p.layer, kv_head);
        reinterpret_cast<float*>(to_page + scales)[slot] = rounding.scale;
      }
    };
    write(p.shape.raw, page);
    if (sink) write(p.shape.core, core_page);
  }
}

template <DType kType>
Status LaunchRotateAppend(const Heads& p, dim3 grid, bool vector, cudaStream_t stream) {
  return Launch("rotate and append",
                vector ? RotateAppendKernel<kType, true> : RotateAppendKernel<kType, false>, grid,
                dim3(kThreads), 0, stream, p);
}

}  // namespace

Status RotateAppend(int64_t layer, const StepShape& shape, const StepView& step,
                    const RotaryTable& table, Tensor qkv, cudaStream_t stream) {
  const bool vector = shape.head_dim % (2 * kPairs) == 0;
  Heads p{step, shape, layer, table.angles(), qkv.data, 32};
  while (vector && p.lanes > 1 && p.lanes / 2 * 2 * kPairs >= shape.head_dim) p.lanes /= 2;
  // Few rows: their heads are spread over the chip.
  constexpr int32_t kFewRows = 256;
  const int32_t heads = shape.query_heads + 2 * shape.kv_heads;
  const int32_t groups = kThreads / p.lanes;
  const int32_t splits = step.rows < kFewRows ? (heads + groups - 1) / groups : 1;
  const dim3 grid(static_cast<unsigned>(step.rows), static_cast<unsigned>(std::min(splits, 65535)));
  switch (shape.raw.dtype) {
    case DType::kF32:
      return LaunchRotateAppend<DType::kF32>(p, grid, vector, stream);
    case DType::kBF16:
      return LaunchRotateAppend<DType::kBF16>(p, grid, vector, stream);
    default:
      return LaunchRotateAppend<DType::kI8>(p, grid, vector, stream);
  }
}

Status RotaryAppendPool(int64_t layer, const StepShape& shape, const StepView& step,
                        const RotaryTable& table, Tensor qkv, cudaStream_t stream) {
  if (shape.head_dim > kMostHeadDim) {
    return absl::UnimplementedError("on CUDA, heads have up to 256 numbers");
  }
  Status status = RotateAppend(layer, shape, step, table, qkv, stream);
  return status.ok() ? PoolGroups(layer, shape, step, qkv, stream) : status;
}

}  // namespace longleaf::kernels::cuda
