// Cosines and sines of the rows of a step, computed once and used by all layers.
#ifndef LONGLEAF_KERNELS_CUDA_ROTARY_TABLE_H_
#define LONGLEAF_KERNELS_CUDA_ROTARY_TABLE_H_

#include <cuda_runtime.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/step.h"

namespace longleaf::kernels::cuda {

// One thread at a time. Its memory outlives what was enqueued on it: it is freed by the device's
// own order.
class RotaryTable {
 public:
  // Enqueues the angles of `step`: position times frequency in double, cosine and sine of that
  // rounded to f32. To be called once a step, before its first RotaryAppendPool; and recorded like
  // any launch when generation() would not change. RESOURCE_EXHAUSTED.
  absl::Status Prepare(const StepView& step, const Rotary& rotary, int64_t head_dim,
                       cudaStream_t stream);

  // Device memory, [R, 2, head_dim / 2]: a row's cosines, then its sines. Stays where it is while
  // generation() is the same.
  const float* angles() const { return angles_.as<float>(); }
  // Grows whenever a recorded Prepare, or a recorded reader of angles(), would be wrong if
  // replayed.
  int64_t generation() const { return generation_; }

 private:
  // Makes room and brings the frequencies.
  absl::Status Fit(int64_t rows, const Rotary& rotary, cudaStream_t stream);

  DeviceMemory angles_;
  DeviceMemory frequencies_;               // [head_dim / 2] f64
  std::vector<double> known_frequencies_;  // what lies there
  int64_t first_position_ = 0;             // of the last Prepare
  int64_t generation_ = 0;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ROTARY_TABLE_H_
