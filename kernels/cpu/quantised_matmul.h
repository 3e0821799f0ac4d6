// Products with quantised weights. Activations are quantised where they are made: a norm's result
// and a SiLU gate's never exist in f32 outside the first cache.
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

// Rows of activations as a product with weights of one format reads them.
class QuantisedRows {
 public:
  // Makes room for rows of `features`; what was there is lost. False when there is no memory.
  bool Reserve(int64_t rows, int64_t features, WeightFormat format);

  int64_t rows() const { return rows_; }
  int64_t features() const { return features_; }
  int64_t groups() const { return GroupsOf(format_, features_); }
  WeightFormat format() const { return format_; }
  int8_t* numbers(int64_t row) const {  // [groups * group]
    return reinterpret_cast<int8_t*>(numbers_.get()) + row * groups() * GroupOf(format_);
  }
  ActivationScale* scales(int64_t row) const {  // [groups]
    return reinterpret_cast<ActivationScale*>(scales_.get()) + row * groups();
  }

 private:
  int64_t rows_ = 0;
  int64_t features_ = 0;
  WeightFormat format_ = WeightFormat::kI8;
  AlignedBytes numbers_;
  int64_t number_bytes_ = 0;
  AlignedBytes scales_;
  int64_t scale_bytes_ = 0;
};

// Keeps its memory between calls, as much as the largest took. For one thread at a time. Weights
// are quantised, arguments have passed their checks, rows are 1 or more. RESOURCE_EXHAUSTED.
class QuantisedMatmul {
 public:
  explicit QuantisedMatmul(ThreadPool* pool);
  QuantisedMatmul(const QuantisedMatmul&) = delete;
  QuantisedMatmul& operator=(const QuantisedMatmul&) = delete;

  // Backend::Linear or, with `add` and no norm, Backend::AddLinear.
  absl::Status Linear(const PackedMatrix& weight, const Tensor& in, const RmsNorm& norm, Tensor out,
                      bool add);
  absl::Status FeedForward(Tensor x, const RmsNorm& norm, const PackedMatrix& gate_up,
                           const PackedMatrix& down);

 private:
  // Of one thread.
  struct Scratch {
    AlignedFloats row;  // of a norm
    int64_t row_floats = 0;
    AlignedFloats gate;  // [kGateRows, kPanelColumns], both halves of a SiLU gate
    AlignedFloats up;
  };
  bool ReserveScratch(int64_t row_floats, bool gate);
  absl::Status Quantise(const Tensor& in, const RmsNorm& norm, WeightFormat format);
  // Runs body(index of the panel, first row, rows, thread) over all of a product.
  template <typename Body>
  void ForPanels(const PackedMatrix& weight, int64_t rows, const Body& body);
  void Multiply(const PackedMatrix& weight, const QuantisedRows& in, Tensor out, bool add);
  // One block of a SiLU gate, joined, in scratch.gate. rows <= kGateRows.
  void MultiplyGate(const PackedMatrix& weight, const QuantisedRows& in, int64_t index, int64_t row,
                    int64_t rows, Scratch& scratch);

  ThreadPool* const pool_;
  QuantisedRows input_;
  QuantisedRows gated_;
  std::vector<Scratch> scratch_;  // one for each thread
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_QUANTISED_MATMUL_H_
