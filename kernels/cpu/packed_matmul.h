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

// Weights in panels (panels.h, quantised_panels.h). Under kSiluGate the panels of gate, then those
// of up. The bytes are its own or lie in memory that it keeps alive, a mapped file.
class PackedMatrix : public Matrix {
 public:
  // `parts` have passed CheckPackMatrix. RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(absl::Span<const WeightView> parts,
                                                            Epilogue epilogue, WeightFormat format,
                                                            ThreadPool& pool,
                                                            int64_t* weight_bytes);
  // `shape` has passed CheckMatrixShape. INVALID_ARGUMENT for bytes of another size or alignment.
  static absl::StatusOr<std::unique_ptr<PackedMatrix>> Adopt(const MatrixShape& shape,
                                                             absl::Span<const std::byte> packed,
                                                             std::shared_ptr<const void> owner,
                                                             int64_t* weight_bytes);
  // Bytes of a matrix of `shape`, which has passed CheckMatrixShape.
  static int64_t BytesOf(const MatrixShape& shape);

  ~PackedMatrix() override { *weight_bytes_ -= bytes(); }
  PackedMatrix(const PackedMatrix&) = delete;
  PackedMatrix& operator=(const PackedMatrix&) = delete;

  const MatrixShape& shape() const override { return shape_; }
  int64_t bytes() const override { return BytesOf(shape_); }
  absl::Span<const std::byte> packed() const override {
    return {panels_, static_cast<size_t>(bytes())};
  }

  int64_t halves() const { return shape_.epilogue == Epilogue::kSiluGate ? 2 : 1; }
  int64_t width() const { return shape_.out_features / halves(); }  // of one half
  // One panel: as in panels.h for f32 and bf16, else as in quantised_panels.h.
  const std::byte* panel(int64_t half, int64_t index) const;
  const float* float_panel(int64_t half, int64_t index) const {  // format kF32
    return reinterpret_cast<const float*>(panel(half, index));
  }
  const uint16_t* bf16_panel(int64_t half, int64_t index) const {  // format kBF16
    return reinterpret_cast<const uint16_t*>(panel(half, index));
  }

 private:
  PackedMatrix(const MatrixShape& shape, AlignedBytes own, const std::byte* panels,
               std::shared_ptr<const void> owner, int64_t* weight_bytes);

  const MatrixShape shape_;
  const AlignedBytes own_;
  const std::shared_ptr<const void> owner_;
  const std::byte* const panels_;  // [halves, PanelsFor(width), bytes of a panel]
  int64_t* const weight_bytes_;    // the backend's account
};

// Runs products on a pool, and keeps what it needs between them: oneDNN primitives by shape (a
// bounded number) and scratch memory per thread. For one thread at a time.
class PackedMatmul {
 public:
  explicit PackedMatmul(ThreadPool* pool);
  ~PackedMatmul();
  PackedMatmul(const PackedMatmul&) = delete;
  PackedMatmul& operator=(const PackedMatmul&) = delete;

  // Weights in f32 or bf16 (`in` is then rounded to it already); arguments have passed CheckLinear
  // or, to `add`, CheckAddLinear. RESOURCE_EXHAUSTED, INTERNAL when oneDNN fails.
  absl::Status Run(const PackedMatrix& weight, const Tensor& in, Tensor out, bool add);

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_PACKED_MATMUL_H_
