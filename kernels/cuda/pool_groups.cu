// Pooling: the core token of every group whose last token is among the rows of the step.
//
// A warp takes one group and core head. Its lanes are split into sub-warps that just hold a row of
// the state, each of which goes over some of the group's tokens with a running softmax; in the end
// the sub-warps' sums are merged. So a group may be of any length and is read once. What comes out
// depends on the group alone, not on what else is in the step.
#include <limits>

#include "kernels/cuda/ptx.h"
#include "kernels/cuda/rotary_append_pool.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/state_row.h"

namespace longleaf::kernels::cuda {
namespace {

using absl::Status;

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kAll = 0xffffffffu;

struct Pooling {
  StepView step;
  StepShape shape;
  int64_t layer = 0;
  const float* qkv = nullptr;  // [R, (H + 2 Hkv) * d], rotated
  int32_t lanes = 0;           // of a sub-warp
  float scale = 0;             // 1 / sqrt(d)
};

// A lane's part of one row: kUnits pieces of kCount elements, piece u beginning at element
// (lane + u * lanes) * kCount.
template <DType kType, int kCount, int kUnits>
class GroupPool {
 public:
  __device__ GroupPool(const Pooling& p, int32_t lane)
      : p_(p), lane_(lane % p.lanes), sub_(lane / p.lanes), subs_(32 / p.lanes) {}

  // Pools the group that ends with batch row `row` for one core head. Warp.
  __device__ void Run(int64_t row, int32_t core_head) {
    const StepItem& item = p_.step.items[p_.step.row_items[row]];
    const int64_t token = item.first_token + row - item.first_row;
    const int64_t group = p_.shape.policy.group;
    const int64_t core = token / group;
    const int32_t kv_head = core_head / (p_.shape.core_heads / p_.shape.kv_heads);
    LoadQuery(row, core_head);
    for (int64_t t = 0; t < group; t += int64_t{subs_} * kAhead) {
      Chunk(item, kv_head, core * group, t);
    }
    Merge();
    std::byte* const page = item.core_pages[core / kPageTokens];
    Write(page, core % kPageTokens, core_head);
  }

 private:
  static constexpr int kSize = kCount * kUnits;
  static constexpr int kAhead = kSize < 16 ? 4 : 2;  // tokens of a sub-warp in flight
  using Unit = Piece<kType, kCount>;

  __device__ __forceinline__ int32_t at(int u) const { return (lane_ + u * p_.lanes) * kCount; }
  __device__ __forceinline__ bool in(int u) const { return at(u) < p_.shape.head_dim; }

  // The mean over the query heads that the core head serves; 0 beyond head_dim. Clears the sums.
  __device__ void LoadQuery(int64_t row, int32_t core_head) {
    const int32_t merged = p_.shape.query_heads / p_.shape.core_heads;
    const float* const first =
        p_.qkv + row * p_.shape.qkv_cols() + int64_t{core_head} * merged * p_.shape.head_dim;
#pragma unroll
    for (int i = 0; i < kSize; ++i) query_[i] = key_[i] = value_[i] = 0;
    for (int32_t m = 0; m < merged; ++m) {
      const float* const head = first + int64_t{m} * p_.shape.head_dim;
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        if (!in(u)) continue;
#pragma unroll
        for (int i = 0; i < kCount; i += 2) {
          const float2 two = *reinterpret_cast<const float2*>(head + at(u) + i);
          query_[u * kCount + i] += two.x;
          query_[u * kCount + i + 1] += two.y;
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kSize; ++i) query_[i] /= static_cast<float>(merged);
    largest_ = -std::numeric_limits<float>::infinity();
    sum_ = 0;
  }

  struct Row {
    Unit units[kUnits];
    float scale = 1;

    __device__ __forceinline__ void Read(int u, float (&x)[kCount]) const {
      units[u].Read(scale, x);
    }
  };
  __device__ __forceinline__ void Load(const std::byte* elements, const std::byte* scales,
                                       int64_t slot, Row& row) const {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      if (in(u)) {
        row.units[u].Load(elements + slot * p_.shape.raw.row_bytes() + at(u) * ElementBytes(kType));
      } else {
#pragma unroll
        for (uint32_t& word : row.units[u].words) word = 0;
      }
    }
    if (kType == DType::kI8) row.scale = reinterpret_cast<const float*>(scales)[slot];
  }

  // Tokens t .. t + subs * kAhead - 1 of the group, as far as there are so many.
  __device__ __forceinline__ void Chunk(const StepItem& item, int32_t kv_head, int64_t first,
                                        int64_t t) {
    const DevicePageLayout& raw = p_.shape.raw;
    Row keys[kAhead], values[kAhead];
    bool there[kAhead];
    float scores[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      const int64_t in_group = t + j * subs_ + sub_;
      there[j] = in_group < p_.shape.policy.group;
      // Others read the group's first token, and count for nothing.
      const int64_t token = first + (there[j] ? in_group : 0);
      const std::byte* const page = item.raw_pages[token / kPageTokens];
      const int64_t slot = token % kPageTokens;
      Load(page + raw.keys(p_.layer, kv_head), page + raw.key_scales(p_.layer, kv_head), slot,
           keys[j]);
      Load(page + raw.values(p_.layer, kv_head), page + raw.value_scales(p_.layer, kv_head), slot,
           values[j]);
    }
    float largest = largest_;
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      float score = 0;
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        float x[kCount];
        keys[j].Read(u, x);
#pragma unroll
        for (int i = 0; i < kCount; ++i) score += query_[u * kCount + i] * x[i];
      }
      for (int step = p_.lanes / 2; step > 0; step /= 2) {
        score += __shfl_xor_sync(kAll, score, step);
      }
      scores[j] = score * p_.scale;
      if (there[j]) largest = fmaxf(largest, scores[j]);
    }
    // Nothing has been added yet where largest_ is minus infinity.
    const float before = Fraction(largest_, largest);
    largest_ = largest;
    sum_ *= before;
#pragma unroll
    for (int i = 0; i < kSize; ++i) key_[i] *= before, value_[i] *= before;
#pragma unroll
    for (int j = 0; j < kAhead; ++j) {
      if (!there[j]) continue;
      const float weight = expf(scores[j] - largest);
      sum_ += weight;
#pragma unroll
      for (int u = 0; u < kUnits; ++u) {
        float x[kCount];
        keys[j].Read(u, x);
#pragma unroll
        for (int i = 0; i < kCount; ++i) key_[u * kCount + i] += weight * x[i];
        values[j].Read(u, x);
#pragma unroll
        for (int i = 0; i < kCount; ++i) value_[u * kCount + i] += weight * x[i];
      }
    }
  }

  __device__ __forceinline__ static float Fraction(float part, float whole) {
    return part == -std::numeric_limits<float>::infinity() ? 0.0f : expf(part - whole);
  }

  // Adds up the sub-warps and divides.
  __device__ __forceinline__ void Merge() {
    for (int step = p_.lanes; step < 32; step *= 2) {
      const float largest = fmaxf(largest_, __shfl_xor_sync(kAll, largest_, step));
      const float part = Fraction(largest_, largest);
      largest_ = largest;
      sum_ *= part;
      sum_ += __shfl_xor_sync(kAll, sum_, step);
#pragma unroll
      for (int i = 0; i < kSize; ++i) {
        key_[i] *= part;
        key_[i] += __shfl_xor_sync(kAll, key_[i], step);
        value_[i] *= part;
        value_[i] += __shfl_xor_sync(kAll, value_[i], step);
      }
    }
#pragma unroll
    for (int i = 0; i < kSize; ++i) key_[i] /= sum_, value_[i] /= sum_;
  }

  __device__ __forceinline__ void Write(std::byte* page, int64_t slot, int32_t head) const {
    const DevicePageLayout& core = p_.shape.core;
    WriteRow(key_, page + core.keys(p_.layer, head), page + core.key_scales(p_.layer, head), slot);
    WriteRow(value_, page + core.values(p_.layer, head), page + core.value_scales(p_.layer, head),
             slot);
  }
  __device__ __forceinline__ void WriteRow(const float (&x)[kSize], std::byte* elements,
                                           std::byte* scales, int64_t slot) const {
    const RowRounding rounding = RoundingOf<kType>(x, p_.lanes);
    if (sub_ != 0) return;
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      if (!in(u)) continue;
      float one[kCount];
#pragma unroll
      for (int i = 0; i < kCount; ++i) one[i] = x[u * kCount + i];
      Unit unit;
      unit.Round(one, rounding);
      unit.Store(elements + slot * p_.shape.core.row_bytes() + at(u) * ElementBytes(kType));
    }
    if (kType == DType::kI8 && lane_ == 0) {
      reinterpret_cast<float*>(scales)[slot] = rounding.scale;
    }
  }

  const Pooling& p_;
  const int32_t lane_;  // within the sub-warp
  const int32_t sub_;   // which one
  const int32_t subs_;
  float query_[kSize];
  float key_[kSize];  // sums, weighted relative to largest_
  float value_[kSize];
  float largest_ = 0;  // score
  float sum_ = 0;      // of weights
};

// 32 rows for each blockIdx.x, kWarps core heads for each blockIdx.y.
template <DType kType, int kCount, int kUnits>
__global__ void __launch_bounds__(kThreads) PoolKernel(Pooling p) {
  const int32_t lane = static_cast<int32_t>(threadIdx.x) % 32;
  const int32_t head =
      static_cast<int32_t>(blockIdx.y) * kWarps + static_cast<int32_t>(threadIdx.x) / 32;
  const int64_t first = int64_t{blockIdx.x} * 32;
  bool last = false;
  if (first + lane < p.step.rows) {
    const StepItem& item = p.step.items[p.step.row_items[first + lane]];
    const int64_t token = item.first_token + first + lane - item.first_row;
    last = (token + 1) % p.shape.policy.group == 0;
  }
  const unsigned ends = __ballot_sync(kAll, last);
  if (head < p.shape.core_heads) {
    GroupPool<kType, kCount, kUnits> pool(p, lane);
    for (int32_t i = 0; i < 32; ++i) {
      if ((ends >> i & 1) != 0) pool.Run(first + i, head);
    }
  }
}

template <DType kType, int kCount, int kUnits>
Status LaunchPool(Pooling p, cudaStream_t stream) {
  const int32_t pieces = p.shape.head_dim / kCount;
  p.lanes = 32;
  while (p.lanes > 1 && p.lanes / 2 >= pieces) p.lanes /= 2;
  const dim3 grid(static_cast<unsigned>((p.step.rows + 31) / 32),
                  static_cast<unsigned>((p.shape.core_heads + kWarps - 1) / kWarps));
  return Launch("pooling", PoolKernel<kType, kCount, kUnits>, grid, dim3(kThreads), 0, stream, p);
}

// Pieces of 16 bytes where rows are made of such, else of two elements.
template <DType kType>
Status PoolAs(const Pooling& p, cudaStream_t stream) {
  constexpr int kCount = 16 / ElementBytes(kType);
  static_assert(kMostHeadDim <= 2 * 32 * kCount && kMostHeadDim <= 4 * 32 * 2);
  if (p.shape.head_dim % kCount != 0) return LaunchPool<kType, 2, 4>(p, stream);
  if (p.shape.head_dim <= 32 * kCount) return LaunchPool<kType, kCount, 1>(p, stream);
  if constexpr (32 * kCount < kMostHeadDim) return LaunchPool<kType, kCount, 2>(p, stream);
  return absl::InternalError("unreachable");
}

}  // namespace

Status PoolGroups(int64_t layer, const StepShape& shape, const StepView& step, const Tensor& qkv,
                  cudaStream_t stream) {
  if (shape.policy.kind != AttentionPolicy::Kind::kCca) return absl::OkStatus();
  Pooling p{step, shape, layer, qkv.data, 0, 1.0f / sqrtf(static_cast<float>(shape.head_dim))};
  switch (shape.raw.dtype) {
    case DType::kF32:
      return PoolAs<DType::kF32>(p, stream);
    case DType::kBF16:
      return PoolAs<DType::kBF16>(p, stream);
    default:
      return PoolAs<DType::kI8>(p, stream);
  }
}

}  // namespace longleaf::kernels::cuda
