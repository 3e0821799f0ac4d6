// What the emulator's cuBLASLt multiplies, and which products it knows.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_CUBLASLT_PRODUCT_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_CUBLASLT_PRODUCT_H_

#include <cublasLt.h>

#include <cstdint>

struct cublasLtMatmulDescOpaque_t {
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  int32_t a_mode = CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F;
  int32_t b_mode = CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F;
  const float* a_scale = nullptr;
  const float* b_scale = nullptr;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType_t type;
  int64_t rows, columns, stride;
};
struct cublasLtMatmulPreferenceOpaque_t {
  uint64_t workspace = 0;
  uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t alignment[4] = {256, 256, 256, 256};  // of A, B, C, D
};

namespace longleaf::emulator {

using Operation = cublasLtMatmulDescOpaque_t;
using Layout = cublasLtMatrixLayoutOpaque_t;

struct Layouts {
  const Layout *a, *b, *c, *d;
};

// What an algorithm's opaque numbers are here.
struct Algorithm {
  uint32_t pieces;  // of the inputs, each summed by itself
  int32_t input_type, output_type;
  uint32_t vector_scales;
  uint64_t workspace;
  uint32_t alignment[4];
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

int64_t Bytes(cudaDataType_t type);  // of an element
bool IsFP8(const Layout& layout);
bool HasVectorScales(const Operation& product);

// Whether the arguments go together, and whether there is such a product on this device: SUCCESS,
// INVALID_VALUE or NOT_SUPPORTED.
cublasStatus_t Check(const Operation* product, const Layouts& layouts);
// Its alignments are the caller's to fill in.
Algorithm AlgorithmFor(const Operation& product, const Layouts& layouts);
// Whether `algorithm` is for such a product.
bool IsFor(const Algorithm& algorithm, const Operation& product, const Layouts& layouts);

// One product with all that it works on.
struct Launched {
  Operation product;
  Layout a_layout, b_layout, c_layout, d_layout;
  Algorithm algorithm;
  const void *a, *b, *c;
  void *d, *workspace;
  float alpha, beta;
};
// Multiplies. False, and why on stderr, when memory that it would touch is not the device's.
bool Multiply(const Launched& product);

}  // namespace longleaf::emulator

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_CUBLASLT_PRODUCT_H_
