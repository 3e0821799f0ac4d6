// The operation between the q, k, v projection and attention: rotate, append to the raw pages, pool
// the groups that are now complete.
#ifndef LONGLEAF_KERNELS_CPU_ROTARY_APPEND_POOL_H_
#define LONGLEAF_KERNELS_CPU_ROTARY_APPEND_POOL_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"

namespace longleaf::kernels {

// Cosines and sines of every row of a step, computed in double once and used by all layers.
class RotaryTable {
 public:
  // Makes the table that of `batch`, unless it is already. False: no memory.
  bool Prepare(Batch batch, const Rotary& rotary, ThreadPool& pool);
  const float* cosine(int64_t row) const { return angles_.get() + row * 2 * half_; }  // [d / 2]
  const float* sine(int64_t row) const { return cosine(row) + half_; }                // [d / 2]

 private:
  int64_t half_ = 0;
  int64_t capacity_ = 0;  // floats
  AlignedFloats angles_;  // [R, 2, d / 2]
  // What the table was made for.
  std::vector<std::pair<int64_t, int64_t>> items_;  // first token, rows
  std::vector<double> frequencies_;
  int64_t first_position_ = 0;
};

// Arguments have passed CheckRotaryAppendPool, every state is a CpuState inside a step, and `table`
// is prepared for the batch.
void RotaryAppendPool(int64_t layer, Batch batch, const RotaryTable& table, Tensor qkv,
                      ThreadPool& pool);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_ROTARY_APPEND_POOL_H_
