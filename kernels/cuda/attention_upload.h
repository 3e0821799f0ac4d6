// The plans of a step on the device, at addresses that stay the same while plans fit.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_UPLOAD_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_UPLOAD_H_

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {

// For one thread at a time, and one stream.
class AttentionUpload {
 public:
  // Sends plans to the device and sets the pointers of arguments[i] to plans[i]: units, rows,
  // merges and merge_partials. Work of the step before may still be queued: the copy comes behind
  // it. RESOURCE_EXHAUSTED changes nothing. At most two plans.
  absl::Status Send(absl::Span<const AttentionPlan> plans, absl::Span<AttentionArguments> arguments,
                    cudaStream_t stream);
  // Changes when device addresses change.
  int64_t generation() const { return generation_; }
  int64_t bytes() const { return device_.bytes(); }

 private:
  // Of each plan: units, rows, merges, merge partials.
  static constexpr size_t kArrays = 8;
  using Sizes = std::array<int64_t, kArrays>;

  struct Staging {
    PinnedMemory memory;
    std::optional<Event> copied;  // the copy out of it
  };

  absl::Status Reserve(const Sizes& needed, cudaStream_t stream);

  std::array<Staging, 2> staging_;
  size_t next_ = 0;  // the one that the next Send fills
  Sizes room_ = {};  // bytes of each array on the device, one after another
  DeviceMemory device_;
  int64_t generation_ = 0;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_UPLOAD_H_
