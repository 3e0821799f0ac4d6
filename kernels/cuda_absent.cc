// kernels/cuda/cuda_backend.h in a build without the CUDA toolkit.
#include "absl/status/status.h"
#include "kernels/cuda/cuda_backend.h"

namespace longleaf::kernels {
namespace {

absl::Status Absent() {
  return absl::UnimplementedError("this build has no CUDA: it was made without the CUDA toolkit");
}

}  // namespace

absl::StatusOr<CudaDevice> FindCudaDevice() { return Absent(); }
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaOptions&) { return Absent(); }

}  // namespace longleaf::kernels
