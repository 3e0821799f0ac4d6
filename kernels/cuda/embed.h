// Embedding: rows of a table in host memory to device memory.
#ifndef LONGLEAF_KERNELS_CUDA_EMBED_H_
#define LONGLEAF_KERNELS_CUDA_EMBED_H_

#include <cuda_runtime.h>

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {

// Brings rows as they lie in the file, through a few MB of pinned memory in two halves, and widens
// them on the device. One thread at a time. Work that still reads its buffers is waited for before
// they are filled again; wait for the stream before destroying it.
class Embedder {
 public:
  // Enqueues out[r] = row tokens[r] of `table`; arguments have passed CheckEmbed. When it returns,
  // `table` and `tokens` have been read. RESOURCE_EXHAUSTED.
  absl::Status Embed(const WeightView& table, absl::Span<const int32_t> tokens, Tensor out,
                     cudaStream_t stream);

 private:
  struct Half {
    PinnedMemory host;
    DeviceMemory device;
    Event done;  // what was enqueued on it
    bool used = false;
  };
  absl::Status Fit(int64_t bytes);
  absl::Status Send(Half& half, const WeightView& table, absl::Span<const int32_t> tokens,
                    float* out, cudaStream_t stream);

  std::array<Half, 2> halves_;
  size_t next_ = 0;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_EMBED_H_
