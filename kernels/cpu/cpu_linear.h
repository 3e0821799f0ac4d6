// The products of a layer with what comes before and after them: norm, SiLU gate, residual.
#ifndef LONGLEAF_KERNELS_CPU_CPU_LINEAR_H_
#define LONGLEAF_KERNELS_CPU_CPU_LINEAR_H_

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/aligned.h"
#include "kernels/backend.h"
#include "kernels/cpu/packed_matmul.h"
#include "kernels/cpu/quantised_matmul.h"
#include "kernels/cpu/thread_pool.h"

namespace longleaf::kernels {

// Keeps scratch memory between calls, as much as the largest took. For one thread at a time.
// Arguments have passed their checks (checks.h). RESOURCE_EXHAUSTED for want of scratch memory,
// INTERNAL when oneDNN fails.
class CpuLinear {
 public:
  explicit CpuLinear(ThreadPool* pool) : pool_(pool), matmul_(pool), quantised_(pool) {}

  absl::Status Linear(const PackedMatrix& weight, const Tensor& in, const RmsNorm& norm,
                      Tensor out);
  absl::Status AddLinear(const PackedMatrix& weight, const Tensor& in, Tensor x);
  absl::Status FeedForward(Tensor x, const RmsNorm& norm, const PackedMatrix& gate_up,
                           const PackedMatrix& down);

 private:
  // Scratch that holds [rows, cols], or null data.
  class Scratch {
   public:
    Tensor Take(int64_t rows, int64_t cols);

   private:
    AlignedFloats data_;
    int64_t floats_ = 0;
  };

  // Rows through `norm` unless that is empty, rounded as products with `format` (kF32, kBF16) read
  // them: `in` itself, or scratch memory. Null data when there is none.
  Tensor ToOperand(const Tensor& in, const RmsNorm& norm, WeightFormat format);

  ThreadPool* const pool_;
  PackedMatmul matmul_;
  QuantisedMatmul quantised_;
  Scratch operand_;
  Scratch gated_;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CPU_LINEAR_H_
