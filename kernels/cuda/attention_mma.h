// The parts of the mma.sync attention, one for each type of state, compiled side by side:
// attention_mma_bf16.cu and attention_mma_i8.cu. See attention_kernels.h.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_H_

#include <cuda_runtime.h>

#include "absl/status/status.h"
#include "kernels/cuda/attention_kernels.h"

namespace longleaf::kernels::cuda {

absl::Status PrepareMmaBf16(int head_dim);
absl::Status PrepareMmaI8(int head_dim);
absl::Status LaunchMmaBf16(const AttentionLaunch& launch, const AttentionArguments& arguments,
                           cudaStream_t stream);
absl::Status LaunchMmaI8(const AttentionLaunch& launch, const AttentionArguments& arguments,
                         cudaStream_t stream);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_MMA_H_
