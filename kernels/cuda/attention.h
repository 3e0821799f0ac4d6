// Attention of a step on the device: plans it once, starts the kernels once a layer.
//
// What holds of the bits: they depend on nothing but the item itself (its rows in this step, what
// it sees, and the state that it was branched from) and the device; not on the items beside it, nor
// on whether they share pages.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_H_

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_plan.h"
#include "kernels/cuda/attention_upload.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/step.h"
#include "kernels/cuda/step_tables.h"

namespace longleaf::kernels::cuda {

// For one thread at a time, and one stream.
class CudaAttention {
 public:
  // `hopper`: CudaOptions::hopper_attention.
  CudaAttention(int multiprocessors, int compute_capability, bool hopper)
      : multiprocessors_(multiprocessors),
        compute_capability_(compute_capability),
        hopper_(hopper) {}

  // Plans a step and sends the plan to the device. `items`: StepTables::items() after its Begin for
  // the same `batch`, whose outputs are used. Work of the step before may still be queued.
  // RESOURCE_EXHAUSTED: the step cannot be run.
  absl::Status Begin(const StepShape& shape, absl::Span<const HostStepItem> items, Batch batch,
                     cudaStream_t stream);
  // Puts the attention of one layer into `stream`, after that of RotaryAppendPool. `view` is that
  // of the step's tables. Requires a Begin. Between two Begins with equal AppendKey the launches
  // are the same, so that a recording of them can be replayed.
  absl::Status Run(int64_t layer, Rows rows, const StepView& view,
                   const Tensor& qkv,  // [R, shape.qkv_cols()], rotated
                   Tensor out,         // [R or O, H * d]
                   cudaStream_t stream) const;
  // Adds to `key` what the launches of Run depend on, besides its own arguments.
  void AppendKey(std::vector<int64_t>* key) const;
  // Device memory held.
  int64_t bytes() const { return upload_.bytes() + partials_.bytes(); }

 private:
  // One of the two ways to answer: kAll and kOutputs.
  struct Planned {
    std::vector<AttentionLaunch> launches;
    int32_t merges = 0;
    AttentionArguments arguments;  // all but items, qkv, out and layer
  };

  absl::Status Prepare(const StepShape& shape);
  absl::Status ReservePartials(const StepShape& shape, int64_t partials, cudaStream_t stream);
  absl::Status Start(const AttentionLaunch& launch, const AttentionArguments& arguments,
                     cudaStream_t stream) const;

  const int multiprocessors_;
  const int compute_capability_;
  const bool hopper_;
  std::vector<StepShape> prepared_;
  AttentionUpload upload_;
  DeviceMemory partials_;           // [partials, H, d] f32, then [partials, H] float2
  int64_t generation_ = 0;          // of partials_
  std::array<Planned, 2> planned_;  // [Rows]
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_H_
