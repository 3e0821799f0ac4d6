// Merging the partial results of a row: a block does one head of one row. Softmax parts add up once
// they are brought to one largest score.
#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;

__device__ inline float Largest(float x, float* shared) {
  for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  x = shared[0];
  for (int w = 1; w < kWarps; ++w) x = fmaxf(x, shared[w]);
  return x;
}

__global__ void __launch_bounds__(kThreads) CombineAttention(AttentionArguments arguments) {
  __shared__ float warps[kWarps];
  __shared__ float weights[kThreads];
  __shared__ float totals[kThreads];
  __shared__ int64_t sums_at[kThreads];
  const AttentionMerge merge = arguments.merges[blockIdx.x];
  if (merge.count == 0) return;
  const int32_t* const partials = arguments.merge_partials + merge.first;
  const int64_t heads = arguments.shape.query_heads, head = blockIdx.y;
  const int64_t d = arguments.shape.head_dim;
  const int thread = static_cast<int>(threadIdx.x);

  float largest = -INFINITY;
  for (int32_t p = thread; p < merge.count; p += kThreads) {
    largest = fmaxf(largest, arguments.partial_max_sum[partials[p] * heads + head].x);
  }
  largest = Largest(largest, warps);

  // Two columns a thread: head_dim is at most 256.
  float sum[2] = {0.0f, 0.0f};
  float total = 0.0f;
  for (int32_t first = 0; first < merge.count; first += kThreads) {
    __syncthreads();
    if (first + thread < merge.count) {
      const int64_t at = partials[first + thread] * heads + head;
      const float2 max_sum = arguments.partial_max_sum[at];
      const float weight = Exp2Approximate(max_sum.x - largest);
      weights[thread] = weight;
      totals[thread] = max_sum.y * weight;
      sums_at[thread] = at * d;
    }
    __syncthreads();
    const int count = merge.count - first < kThreads ? merge.count - first : kThreads;
#pragma unroll 4
    for (int p = 0; p < count; ++p) {
      total += totals[p];
      const float* const from = arguments.partial_out + sums_at[p];
      if (thread < d) sum[0] = fmaf(from[thread], weights[p], sum[0]);
      if (kThreads + thread < d) sum[1] = fmaf(from[kThreads + thread], weights[p], sum[1]);
    }
  }
  const float factor = 1.0f / total;
  float* const out = arguments.out + (merge.out * heads + head) * d;
  if (thread < d) out[thread] = sum[0] * factor;
  if (kThreads + thread < d) out[kThreads + thread] = sum[1] * factor;
}

}  // namespace

absl::Status LaunchAttentionCombine(int32_t count, const AttentionArguments& arguments,
                                    cudaStream_t stream) {
  return Launch(
      "merging attention", &CombineAttention,
      dim3(static_cast<unsigned>(count), static_cast<unsigned>(arguments.shape.query_heads)),
      dim3(kThreads), 0, stream, arguments);
}

}  // namespace longleaf::kernels::cuda
