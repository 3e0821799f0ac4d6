// Weights in device memory, and their way there from a file.
#ifndef LONGLEAF_KERNELS_CUDA_CUDA_MATRIX_H_
#define LONGLEAF_KERNELS_CUDA_CUDA_MATRIX_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {

// What products with weights of `format` multiply. Requires f32, bf16 or fp8.
constexpr Operand OperandOf(WeightFormat format) {
  return format == WeightFormat::kBF16  ? Operand::kBF16
         : format == WeightFormat::kFP8 ? Operand::kE4M3
                                        : Operand::kF32;
}

// A matrix in device memory, row-major; under kSiluGate the rows of gate, then those of up.
class CudaMatrix : public Matrix {
 public:
  // With undefined content. `shape` has passed CheckMatrixShape and is of a format that OperandOf
  // takes. RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<CudaMatrix>> Allocate(const MatrixShape& shape,
                                                              int64_t* weight_bytes);
  ~CudaMatrix() override { *weight_bytes_ -= bytes(); }
  CudaMatrix(const CudaMatrix&) = delete;
  CudaMatrix& operator=(const CudaMatrix&) = delete;

  const MatrixShape& shape() const override { return shape_; }
  int64_t bytes() const override { return weights_.bytes() + scales_.bytes(); }
  absl::Span<const std::byte> packed() const override { return {}; }  // not kept

  Operand operand() const { return OperandOf(shape_.format); }
  std::byte* weights() const { return weights_.data(); }  // [out_features, in_features]
  float* scales() const { return scales_.as<float>(); }   // [out_features], of fp8 alone

 private:
  CudaMatrix(const MatrixShape& shape, DeviceMemory weights, DeviceMemory scales,
             int64_t* weight_bytes);

  const MatrixShape shape_;
  const DeviceMemory weights_;
  const DeviceMemory scales_;
  int64_t* const weight_bytes_;  // the backend's account
};

// Brings weights from files to the device, through two pieces of pinned memory that take turns: one
// is filled while the other travels. For one thread at a time.
class MatrixLoader {
 public:
  // Fills `to` with the vertical concatenation of `parts`, which have its shape. When it returns
  // the parts have been read; the matrix is complete in the order of `stream`, always the same one.
  // RESOURCE_EXHAUSTED.
  absl::Status Load(absl::Span<const WeightView> parts, const CudaMatrix& to, cudaStream_t stream);

  // Gives its memory back, for the time being. Waits for the device.
  void Release();

 private:
  struct Piece {
    PinnedMemory host;
    DeviceMemory device;
    Event done;  // with both
    bool used = false;
  };

  absl::Status Reserve(int64_t bytes);
  // Rows first .. first + rows - 1 of the matrix from `from`, elements of `type`.
  absl::Status LoadPart(const WeightView& part, int64_t first_row, const CudaMatrix& to,
                        cudaStream_t stream);
  // Sends `bytes` of a part to the device: to `to` directly, or to the piece's own memory when that
  // is null. The piece that was used.
  absl::StatusOr<Piece*> Send(const std::byte* from, int64_t bytes, std::byte* to,
                              cudaStream_t stream);

  Piece pieces_[2];
  int64_t piece_bytes_ = 0;
  int next_ = 0;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_CUDA_MATRIX_H_
