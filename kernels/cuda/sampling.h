// Sampling on the device; the definition is kernels/sampling.h.
#ifndef LONGLEAF_KERNELS_CUDA_SAMPLING_H_
#define LONGLEAF_KERNELS_CUDA_SAMPLING_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {

// Every row is chosen from on the device; requests and results travel in pinned memory. One thread
// at a time.
class CudaSampler {
 public:
  // One request per row of logits [n, vocab], device memory; arguments have passed CheckSample.
  // Waits for the stream, once: errors of earlier work come out here. The same request on the same
  // row gives the same result, bit for bit. INTERNAL as SampleReference has it; RESOURCE_EXHAUSTED.
  absl::StatusOr<std::vector<SampleResult>> Sample(const Tensor& logits,
                                                   absl::Span<const SampleRequest> requests,
                                                   cudaStream_t stream);

 private:
  absl::Status Fit(int64_t request_bytes, int64_t result_bytes, int64_t work_bytes);

  PinnedMemory requests_, results_;
  DeviceMemory device_requests_, device_results_;
  DeviceMemory work_;  // penalised rows, [number, vocab]
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_SAMPLING_H_
