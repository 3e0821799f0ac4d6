// BatchItem::attention_mass on the device: the softmax weights of the rows that were asked about
// are summed there over heads and layers, and come to the host once, at the end of a step.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_MASS_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_MASS_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/step.h"

namespace longleaf::kernels::cuda {

// One thread at a time. A step that was given up needs no Finish.
class AttentionMass {
 public:
  AttentionMass() = default;

  // Opens a step: notes who asks, of their states as they are before the step, and clears the sums.
  // Costs nothing where nobody asks. RESOURCE_EXHAUSTED leaves the step closed. Not to be recorded
  // in a graph.
  absl::Status Begin(const StepShape& shape, Batch batch, cudaStream_t stream);
  // Whether anybody asked in the step that is open.
  bool wanted() const { return !wanted_.empty(); }
  // Appends to `key` what the launches of Add depend on, apart from Add's own arguments.
  void AppendKey(std::vector<int64_t>* key) const;
  // Enqueues the weights of one layer, whose keys are in the pages and whose rotated queries are in
  // `qkv` [R, shape.qkv_cols()]. Any order of layers, each once.
  absl::Status Add(int64_t layer, const StepView& view, const Tensor& qkv, cudaStream_t stream);
  // Waits for `stream`, adds the sums to the host arrays and closes the step. On errors these are
  // left as they were. At once where nobody asked.
  absl::Status Finish(cudaStream_t stream);

 private:
  struct Wanted {
    float* mass = nullptr;  // [positions], the caller's
    int64_t positions = 0;
    int64_t first = 0;  // in the device's sums
  };

  absl::Status MakeRoom(int32_t rows, int64_t positions, int32_t heads, cudaStream_t stream);

  StepShape shape_;
  std::vector<Wanted> wanted_;
  bool queued_ = false;    // work that uses the memory below may be, of a step that was given up
  int32_t rows_ = 0;       // that launches are made for: those that ask, and empty ones
  int64_t longest_ = 0;    // likewise
  int64_t positions_ = 0;  // of all

  PinnedMemory host_rows_;  // AttentionMassRow[rows]
  PinnedMemory host_mass_;  // [positions]
  DeviceMemory device_rows_;
  DeviceMemory max_sum_;  // float2 [rows, heads, kMassParts]
  DeviceMemory mass_;     // [positions]
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_MASS_H_
