// Makes backends that run on an NVIDIA GPU. No CUDA header is needed to use this one; a build
// without the CUDA toolkit has it too and answers UNIMPLEMENTED (kernels/cuda_absent.cc).
#ifndef LONGLEAF_KERNELS_CUDA_CUDA_BACKEND_H_
#define LONGLEAF_KERNELS_CUDA_CUDA_BACKEND_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

struct CudaDevice {
  std::string name;            // "NVIDIA H200"
  int compute_capability = 0;  // 90
  int multiprocessors = 0;
  int64_t memory_bytes = 0;
  int64_t free_bytes = 0;  // now
};

// The device that CreateCudaBackend would use: the first of those that CUDA_VISIBLE_DEVICES leaves.
// UNIMPLEMENTED: this build has no CUDA; UNAVAILABLE:
// no device, no driver, or one that is too old (compute capability 8.0 is needed).
absl::StatusOr<CudaDevice> FindCudaDevice();

struct CudaOptions {
  // Hard limit of attention state memory. 0: nine tenths of what is free when the first state is
  // made, after the weights and activations have been put there.
  int64_t state_capacity_bytes = 0;
  bool graphs = true;         // decode steps are recorded once and replayed
  bool poison_pages = false;  // tests: new pages are full of NaN, so that a stray read shows
  // Prefill on a Hopper GPU over bf16 states by its own matrix instructions, which should be about
  // twice as fast as those that all GPUs have. Off until it has run on such a GPU: so far it has
  // only been emulated.
  bool hopper_attention = false;
};

// INVALID_ARGUMENT for negative options; else as FindCudaDevice; RESOURCE_EXHAUSTED.
absl::StatusOr<std::unique_ptr<Backend>> CreateCudaBackend(const CudaOptions& options);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CUDA_CUDA_BACKEND_H_
