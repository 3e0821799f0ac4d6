// Products with quantised weights: quantises the activations, then runs the panels on the pool.
#ifndef LONGLEAF_KERNELS_CPU_QUANTISED_MATMUL_H_
#define LONGLEAF_KERNELS_CPU_QUANTISED_MATMUL_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/aligned.h"
#include "kernels/backend.h"
#include "kernels/cpu/packed_matmul.h"
#include "kernels/cpu/quantised_panels.h"
#include "kernels/cpu/thread_pool.h"

namespace longleaf::kernels {

// Keeps the memory for activations between products: as much as the largest one took. For one
// thread at a time.
class QuantisedMatmul {
 public:
  explicit QuantisedMatmul(ThreadPool* pool);
  QuantisedMatmul(const QuantisedMatmul&) = delete;
  QuantisedMatmul& operator=(const QuantisedMatmul&) = delete;

  // `weight` is quantised; arguments have passed CheckLinear or, to `add`, CheckAddLinear.
  // RESOURCE_EXHAUSTED.
  absl::Status Run(const PackedMatrix& weight, const Tensor& in, Tensor out, bool add);

 private:
  bool Reserve(int64_t rows, WeightFormat format, int64_t in_features);
  void Quantise(WeightFormat format, const Tensor& in);

  ThreadPool* const pool_;
  AlignedBytes numbers_;  // [rows, groups * group] int8
  int64_t number_bytes_ = 0;
  AlignedBytes scales_;  // [rows, groups] ActivationScale
  int64_t scale_bytes_ = 0;
  std::vector<AlignedFloats> up_;  // of a SiLU gate, one block for each thread
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_QUANTISED_MATMUL_H_
