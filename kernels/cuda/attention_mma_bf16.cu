// The mma.sync attention kernels of bf16 states.
#include "kernels/cuda/attention_mma_kernel.h"

namespace longleaf::kernels::cuda {

absl::Status PrepareMmaBf16(int head_dim) {
  switch (head_dim) {
    case 64:
      return PrepareMma<DType::kBF16, 64>();
    case 96:
      return PrepareMma<DType::kBF16, 96>();
    default:
      return PrepareMma<DType::kBF16, 128>();
  }
}

absl::Status LaunchMmaBf16(const AttentionLaunch& launch, const AttentionArguments& arguments,
                           cudaStream_t stream) {
  switch (arguments.shape.head_dim) {
    case 64:
      return LaunchMma<DType::kBF16, 64>(launch, arguments, stream);
    case 96:
      return LaunchMma<DType::kBF16, 96>(launch, arguments, stream);
    default:
      return LaunchMma<DType::kBF16, 128>(launch, arguments, stream);
  }
}

}  // namespace longleaf::kernels::cuda
