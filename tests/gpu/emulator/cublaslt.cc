// The emulator's cuBLASLt: products by plain loops, launched like a kernel so that they run when
// the stream comes to them. What NVIDIA's documentation excludes is refused as the library refuses
// it, and only what kernels/cuda uses is there at all.
//
// Algorithms differ as real ones do: many rows make it cut the inputs into more pieces, each summed
// by itself, so a row's bits depend on the algorithm, though never on other rows. An algorithm is
// for one combination of types and a workspace, which it fills with NaN, and for pointers as
// aligned as the preference said.
#include <cublasLt.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "tests/gpu/emulator/cublaslt_product.h"
#include "tests/gpu/emulator/launch.h"

struct cublasLtContext {};

namespace longleaf::emulator {
namespace {

template <typename T>
cublasStatus_t SetTo(T* to, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

template <typename Pointer, typename Object>
cublasStatus_t Make(Pointer* to, const Object& object) {
  *to = new (std::nothrow) Object(object);
  return *to != nullptr ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t SetOperation(cublasOperation_t* to, const void* value, size_t bytes) {
  int32_t operation = 0;
  const cublasStatus_t status = SetTo(&operation, value, bytes);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (operation != CUBLAS_OP_N && operation != CUBLAS_OP_T) return CUBLAS_STATUS_INVALID_VALUE;
  *to = static_cast<cublasOperation_t>(operation);
  return status;
}

bool IsAligned(const void* pointer, uint32_t alignment) {
  return reinterpret_cast<uintptr_t>(pointer) % alignment == 0;
}

}  // namespace
}  // namespace longleaf::emulator

using namespace longleaf::emulator;  // NOLINT: the library's functions are in no namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "allocation failed";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "invalid value";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "not supported";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "execution failed";
    default:
      return "another error";
  }
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return Make(handle, cublasLtContext()); }

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t stride) {
  return Make(layout,
              Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), stride});
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  // TF32 is known so that it can be refused: f32 weights would lose 13 bits.
  if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F) return CUBLAS_STATUS_INVALID_VALUE;
  return Make(product, Operation());
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) {
  delete product;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return SetOperation(&product->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return SetOperation(&product->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
      return SetTo(&product->a_scale, value, bytes);
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
      return SetTo(&product->b_scale, value, bytes);
    case CUBLASLT_MATMUL_DESC_A_SCALE_MODE:
      return SetTo(&product->a_mode, value, bytes);
    case CUBLASLT_MATMUL_DESC_B_SCALE_MODE:
      return SetTo(&product->b_mode, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return Make(preference, cublasLtMatmulPreferenceOpaque_t());
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return SetTo(&preference->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return SetTo(&preference->schemes, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return SetTo(&preference->alignment[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES],
                   value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* found) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (preference == nullptr || wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  *found = 0;
  const Layouts layouts{a, b, c, d};
  const cublasStatus_t status = Check(product, layouts);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  // By the alignments that are promised: fp8 wants 16 bytes, others a whole element.
  Algorithm algorithm = AlgorithmFor(*product, layouts);
  std::copy_n(preference->alignment, 4, algorithm.alignment);
  const int64_t least[] = {IsFP8(*a) ? 16 : Bytes(a->type), IsFP8(*b) ? 16 : Bytes(b->type),
                           Bytes(c->type), Bytes(d->type)};
  for (int i = 0; i < 4; ++i) {
    if (preference->alignment[i] < least[i]) return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const bool splits = (preference->schemes & (CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE |
                                              CUBLASLT_REDUCTION_SCHEME_INPLACE)) != 0;
  if (!splits || preference->workspace < algorithm.workspace) {
    algorithm.pieces = 1;
    algorithm.workspace = 0;
  }
  cublasLtMatmulHeuristicResult_t& result = results[0];
  result = {};
  std::memcpy(result.algo.data, &algorithm, sizeof(algorithm));
  result.workspaceSize = algorithm.workspace;
  result.state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Layouts layouts{a, b, c, d};
  const cublasStatus_t status = Check(product, layouts);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  Algorithm ours;
  std::memcpy(&ours, algorithm->data, sizeof(ours));
  if (!IsFor(ours, *product, layouts)) return CUBLAS_STATUS_NOT_SUPPORTED;
  *result = {};
  result->algo = *algorithm;
  result->workspaceSize = ours.workspace;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t product,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Layouts layouts{a_layout, b_layout, c_layout, d_layout};
  const cublasStatus_t status = Check(product, layouts);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (alpha == nullptr || beta == nullptr || algorithm == nullptr) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  Launched launched{*product,
                    *a_layout,
                    *b_layout,
                    *c_layout,
                    *d_layout,
                    {},
                    a,
                    b,
                    c,
                    d,
                    workspace,
                    *static_cast<const float*>(alpha),
                    *static_cast<const float*>(beta)};
  std::memcpy(&launched.algorithm, algorithm->data, sizeof(launched.algorithm));
  if (!IsFor(launched.algorithm, *product, layouts)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (workspace_bytes < launched.algorithm.workspace) return CUBLAS_STATUS_INVALID_VALUE;
  const void* const pointers[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i) {
    if (pointers[i] == nullptr || !IsAligned(pointers[i], launched.algorithm.alignment[i])) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  }
  if (HasVectorScales(*product) &&
      !(IsAligned(product->a_scale, 16) && IsAligned(product->b_scale, 16))) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  return EnqueueWork(stream, [launched] { return Multiply(launched); }) == cudaSuccess
             ? CUBLAS_STATUS_SUCCESS
             : CUBLAS_STATUS_EXECUTION_FAILED;
}
