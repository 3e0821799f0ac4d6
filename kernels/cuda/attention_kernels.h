// The attention kernels, one way to start each. They only enqueue; errors are those of Launch.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_KERNELS_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_KERNELS_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/cuda/attention_unit.h"
#include "kernels/cuda/step.h"

namespace longleaf::kernels::cuda {

// What a launch gets, by value. All pointers are device memory.
struct AttentionArguments {
  const AttentionUnit* units = nullptr;     // all of the step: a launch's begin at first_unit
  const AttentionRow* rows = nullptr;       // all of the step
  const AttentionMerge* merges = nullptr;   // [merges]
  const int32_t* merge_partials = nullptr;  // indices of partial results
  const StepItem* items = nullptr;          // [items]
  const float* qkv = nullptr;               // [R, shape.qkv_cols()]: q, k, v
  float* out = nullptr;                     // [result rows, H * d]
  float* partial_out = nullptr;             // [partials, H, d]: sums divided by nothing
  float2* partial_max_sum = nullptr;        // [partials, H]: x = the largest score, in units of
                                            // log2 (score * log2(e) / sqrt(d)), -inf where the
                                            // row sees nothing; y = sum of 2^(score - x), or 0
  StepShape shape;
  int64_t layer = 0;
};

// Each Prepare below is called once for a shape, before the first launch and outside of any
// recording of a graph: it allows what the launches of that shape need.

// Any state type and any even head_dim up to 256, in f32 arithmetic. For f32 states, and for shapes
// that the faster kernels do not take.
absl::Status PrepareAttentionF32(const StepShape& shape);
absl::Status LaunchAttentionF32(const AttentionLaunch& launch, const AttentionArguments& arguments,
                                cudaStream_t stream);

// Tensor cores by mma.sync: bf16 and i8 states with a head_dim of 64, 96 or 128.
bool MmaTakes(const StepShape& shape);
absl::Status PrepareAttentionMma(const StepShape& shape);
absl::Status LaunchAttentionMma(const AttentionLaunch& launch, const AttentionArguments& arguments,
                                cudaStream_t stream);

// Tensor cores by wgmma, compute capability 9.0: prefill launches, never others (a decode row gets
// the same bits alone and beside others, so that one kernel has to do them all).
bool WgmmaTakes(const StepShape& shape, const AttentionLaunch& launch, int compute_capability);
absl::Status PrepareAttentionWgmma(const StepShape& shape);
absl::Status LaunchAttentionWgmma(const AttentionLaunch& launch,
                                  const AttentionArguments& arguments, cudaStream_t stream);

// Merges partial results: merges[0 .. count-1] of `arguments`, into its out.
absl::Status LaunchAttentionCombine(int32_t count, const AttentionArguments& arguments,
                                    cudaStream_t stream);

// A row whose softmax weights are wanted.
struct AttentionMassRow {
  int64_t token = 0;  // sees SeenBy(policy, token)
  int64_t first = 0;  // index in `mass` of the first position it sees
  int32_t item = 0;   // of arguments.items
  int32_t row = 0;    // of the batch
};
// mass[first + n] += the sum over query heads of the weight that the row gives to the n-th position
// it sees, cores before raw tokens, in an order that depends on nothing. `longest`: the most
// positions any row sees, or more. max_sum: scratch. Any state type. A row whose token is -1 sees
// nothing. Uses items, qkv, shape and layer of `arguments`.
inline constexpr int kMassParts = 16;  // of a row's keys, for the first of two passes
absl::Status LaunchAttentionMass(const AttentionMassRow* rows,  // device: [count]
                                 int32_t count, int64_t longest,
                                 const AttentionArguments& arguments,
                                 float2* max_sum,  // device: [count, H, kMassParts]
                                 float* mass,      // device: [all positions]
                                 cudaStream_t stream);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_KERNELS_H_
