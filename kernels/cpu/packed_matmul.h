// Products with packed weights: oneDNN for many rows, MultiplyPanel for few. The only file that
// multiplies through oneDNN is packed_matmul.cc (matmul_rate.cc measures it).
#ifndef LONGLEAF_KERNELS_CPU_PACKED_MATMUL_H_
#define LONGLEAF_KERNELS_CPU_PACKED_MATMUL_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/aligned.h"
#include "kernels/backend.h"
#include "kernels/cpu/thread_pool.h"

namespace longleaf::kernels {

// Weights as f32 panels (panels.h). Under kSiluGate the panels of gate, then those of up.
class PackedMatrix : public Matrix {
 public:
  // `parts` have passed CheckPackMatrix. RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(absl::Span<const WeightView> parts,
                                                            Epilogue epilogue, ThreadPool& pool,
                                                            int64_t* weight_bytes);
  ~PackedMatrix() override { *weight_bytes_ -= bytes(); }
  PackedMatrix(const PackedMatrix&) = delete;
  PackedMatrix& operator=(const PackedMatrix&) = delete;

  int64_t out_features() const override { return halves() * width_; }
  int64_t in_features() const override { return depth_; }
  int64_t bytes() const override;

  Epilogue epilogue() const { return epilogue_; }
  int64_t halves() const { return epilogue_ == Epilogue::kSiluGate ? 2 : 1; }
  int64_t width() const { return width_; }                // out_features of one half
  const float* panel(int64_t half, int64_t index) const;  // [PaddedDepth(depth), kPanelColumns]

 private:
  PackedMatrix(AlignedFloats panels, Epilogue epilogue, int64_t width, int64_t depth,
               int64_t* weight_bytes);

  const AlignedFloats panels_;  // [halves, PanelsFor(width), PaddedDepth(depth), kPanelColumns]
  const Epilogue epilogue_;
  const int64_t width_;
  const int64_t depth_;
  int64_t* const weight_bytes_;  // the backend's account
};

// Runs products on a pool, and keeps what it needs between them: oneDNN primitives by shape (a
// bounded number) and scratch memory per thread. For one thread at a time.
class PackedMatmul {
 public:
  explicit PackedMatmul(ThreadPool* pool);
  ~PackedMatmul();
  PackedMatmul(const PackedMatmul&) = delete;
  PackedMatmul& operator=(const PackedMatmul&) = delete;

  // Arguments have passed CheckLinear. RESOURCE_EXHAUSTED, INTERNAL when oneDNN fails.
  absl::Status Run(const PackedMatrix& weight, const Tensor& in, Tensor out);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_PACKED_MATMUL_H_
