// The products of a layer with what comes before and after them: norm, SiLU gate, residual.
//
// The residual is added by the product itself. What lies between two products is held in the type
// that they multiply: under bf16 and fp8 a SiLU gate's two halves are rounded to bf16 before they
// are joined, and its result once more for the next product.
#ifndef LONGLEAF_KERNELS_CUDA_CUDA_LINEAR_H_
#define LONGLEAF_KERNELS_CUDA_CUDA_LINEAR_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/cuda_matrix.h"
#include "kernels/cuda/runtime.h"

namespace longleaf::kernels::cuda {

// For one thread at a time. Arguments have passed their checks (checks.h); tensors are in device
// memory. Everything is put into one stream and has not run when a call returns. Errors: those of
// Cublas::Multiply, of a launch, and RESOURCE_EXHAUSTED for want of scratch memory.
//
// Scratch memory grows to what the largest call took and stays. A call that makes it grow allocates
// device memory and so cannot be recorded in a graph; Reserve makes room ahead. What a row's bits
// may depend on: cublas.h; all else here knows one row at a time.
class CudaLinear {
 public:
  // `compute_capability` is the device's, 90. `stream` outlives this; so do the account and this
  // the matrices. RESOURCE_EXHAUSTED, UNAVAILABLE.
  static absl::StatusOr<std::unique_ptr<CudaLinear>> Create(int compute_capability,
                                                            cudaStream_t stream,
                                                            int64_t* weight_bytes);
  CudaLinear(const CudaLinear&) = delete;
  CudaLinear& operator=(const CudaLinear&) = delete;

  // `parts` have passed CheckPackMatrix, and have been read when this returns. UNIMPLEMENTED: int8
  // and int4; fp8 below compute capability 8.9, or of a size that is not a multiple of 16 both
  // ways.
  absl::StatusOr<std::unique_ptr<CudaMatrix>> Pack(absl::Span<const WeightView> parts,
                                                   Epilogue epilogue, WeightFormat format);

  absl::Status Linear(const CudaMatrix& weight, const Tensor& in, const RmsNorm& norm, Tensor out);
  absl::Status AddLinear(const CudaMatrix& weight, const Tensor& in, Tensor x);
  absl::Status FeedForward(Tensor x, const RmsNorm& norm, const CudaMatrix& gate_up,
                           const CudaMatrix& down);

  // Makes room for calls of up to `rows` rows with any matrix packed so far, and lets go of what
  // only loading needs.
  absl::Status Reserve(int64_t rows);
  // Another number whenever scratch memory has moved: what was recorded before is then of no use.
  int64_t generation() const { return generation_; }
  int64_t scratch_bytes() const;

 private:
  // What a product reads: rows of the operand's type.
  struct Input {
    const void* rows = nullptr;     // [R, features]
    const float* scales = nullptr;  // [R], of fp8 alone
  };

  CudaLinear(std::unique_ptr<Cublas> cublas, int compute_capability, cudaStream_t stream,
             int64_t* weight_bytes)
      : cublas_(std::move(cublas)),
        compute_capability_(compute_capability),
        stream_(stream),
        weight_bytes_(weight_bytes) {}

  absl::Status Grow(DeviceMemory& memory, int64_t bytes);
  // Rows of f32, through `norm` unless that is empty, as an operand. In input_ where they change.
  absl::StatusOr<Input> ToOperand(const Tensor& in, const RmsNorm& norm, Operand operand);
  // The joined halves of a SiLU gate that wide_ holds, as an operand, in input_.
  absl::StatusOr<Input> GateToOperand(int64_t rows, int64_t inner, Operand operand);
  absl::Status Multiply(const CudaMatrix& weight, const Input& in, int64_t rows, void* out,
                        bool bf16_out, bool add);
  // Both halves of a SiLU gate into wide_.
  absl::Status MultiplyGate(const CudaMatrix& weight, const Input& in, int64_t rows);

  const std::unique_ptr<Cublas> cublas_;
  const int compute_capability_;
  const cudaStream_t stream_;
  int64_t* const weight_bytes_;
  MatrixLoader loader_;

  DeviceMemory input_;         // [R, features] of an operand
  DeviceMemory input_scales_;  // [R] f32
  DeviceMemory wide_;          // [R, 2 * inner]: f32 for f32, else bf16
  DeviceMemory sums_;          // [R, out_features] f32, of fp8 where the library lacks row scales
  int64_t generation_ = 0;

  // Of the matrices packed so far, in bytes for each row.
  int64_t most_input_bytes_ = 0;
  int64_t most_wide_bytes_ = 0;
  int64_t most_sum_bytes_ = 0;
  bool has_fp8_ = false;
  bool needs_sums_ = false;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_CUDA_LINEAR_H_
