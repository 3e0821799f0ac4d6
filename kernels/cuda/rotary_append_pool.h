// The operation between the q, k, v projection and attention: rotate, append to the raw pages, pool
// the groups that are now complete. What it means: Backend::RotaryAppendPool.
#ifndef LONGLEAF_KERNELS_CUDA_ROTARY_APPEND_POOL_H_
#define LONGLEAF_KERNELS_CUDA_ROTARY_APPEND_POOL_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/cuda/rotary_table.h"
#include "kernels/cuda/step.h"

namespace longleaf::kernels::cuda {

// The largest head_dim that these kernels take.
inline constexpr int64_t kMostHeadDim = 256;

// Enqueues the operation for one layer. `table` is prepared for `step`; pages that the step writes
// are its own (shared ones copied before, on this stream). Rotated keys go into the pages alone: in
// `qkv` only the queries change. UNIMPLEMENTED: head_dim above kMostHeadDim.
absl::Status RotaryAppendPool(int64_t layer, const StepShape& shape, const StepView& step,
                              const RotaryTable& table,
                              Tensor qkv,  // [R, (H + 2 Hkv) * d], q then k then v
                              cudaStream_t stream);

// Its two halves, in this order.
absl::Status RotateAppend(int64_t layer, const StepShape& shape, const StepView& step,
                          const RotaryTable& table, Tensor qkv, cudaStream_t stream);
absl::Status PoolGroups(int64_t layer, const StepShape& shape, const StepView& step,
                        const Tensor& qkv, cudaStream_t stream);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ROTARY_APPEND_POOL_H_
