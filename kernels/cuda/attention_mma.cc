// Which shapes the mma.sync kernels take, and which of them serves one.
#include "kernels/cuda/attention_mma.h"
#include "kernels/cuda/attention_kernels.h"

namespace longleaf::kernels::cuda {

bool MmaTakes(const StepShape& shape) {
  const DType type = shape.raw.dtype;
  return (type == DType::kBF16 || type == DType::kI8) &&
         (shape.head_dim == 64 || shape.head_dim == 96 || shape.head_dim == 128);
}

absl::Status PrepareAttentionMma(const StepShape& shape) {
  return shape.raw.dtype == DType::kBF16 ? PrepareMmaBf16(shape.head_dim)
                                         : PrepareMmaI8(shape.head_dim);
}

absl::Status LaunchAttentionMma(const AttentionLaunch& launch, const AttentionArguments& arguments,
                                cudaStream_t stream) {
  return arguments.shape.raw.dtype == DType::kBF16 ? LaunchMmaBf16(launch, arguments, stream)
                                                   : LaunchMmaI8(launch, arguments, stream);
}

}  // namespace longleaf::kernels::cuda
