// The mma.sync attention kernels of i8 states.
#include "kernels/cuda/attention_mma_kernel.h"

namespace longleaf::kernels::cuda {

absl::Status PrepareMmaI8(int head_dim) {
  switch (head_dim) {
    case 64:
      return PrepareMma<DType::kI8, 64>();
    case 96:
      return PrepareMma<DType::kI8, 96>();
    default:
      return PrepareMma<DType::kI8, 128>();
  }
}

absl::Status LaunchMmaI8(const AttentionLaunch& launch, const AttentionArguments& arguments,
                         cudaStream_t stream) {
  switch (arguments.shape.head_dim) {
    case 64:
      return LaunchMma<DType::kI8, 64>(launch, arguments, stream);
    case 96:
      return LaunchMma<DType::kI8, 96>(launch, arguments, stream);
    default:
      return LaunchMma<DType::kI8, 128>(launch, arguments, stream);
  }
}

}  // namespace longleaf::kernels::cuda
