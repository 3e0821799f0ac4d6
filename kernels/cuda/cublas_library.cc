// The functions of cuBLASLt that this folder calls, each passed on to the shared library, which is
// opened at the first call. Linked the ordinary way, a program with CUDA in it would not even start
// on a machine without the library's 500 MB, where it could well serve from the CPU.
//
// Without the library every function fails with CUBLAS_STATUS_NOT_INITIALIZED, and
// cublasLtGetStatusString says why. The names stay inside the program (CMakeLists.txt hides them):
// the library must go on finding its own.
#include <cublasLt.h>
#include <dlfcn.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace longleaf::kernels::cuda {
namespace {

// Immutable once opened; never closed, for its threads may outlive any moment of ours.
class CublasLibrary {
 public:
  static const CublasLibrary& Get() {
    static const CublasLibrary library;
    return library;
  }

  // Calls the library's function of that name and of the type of the one it stands for.
  template <typename... Parameters>
  static cublasStatus_t Call(const char* name, cublasStatus_t (*)(Parameters...),
                             Parameters... arguments) {
    void* const symbol = Get().Find(name);
    if (symbol == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
    return reinterpret_cast<cublasStatus_t (*)(Parameters...)>(symbol)(arguments...);
  }

  void* Find(const char* name) const { return library_ ? dlsym(library_, name) : nullptr; }
  // Why it could not be opened.
  const std::string& error() const { return error_; }

 private:
  CublasLibrary() {
    // The headers' own generation, wherever the loader looks, and where NVIDIA's installer puts it.
    const std::string name = absl::StrCat("libcublasLt.so.", CUBLAS_VER_MAJOR);
    library_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ != nullptr) return;
    error_ = absl::StrCat("cuBLAS cannot be loaded: ", dlerror());
    library_ = dlopen(("/usr/local/cuda/lib64/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
  }

  void* library_ = nullptr;
  std::string error_;
};

}  // namespace
}  // namespace longleaf::kernels::cuda

using longleaf::kernels::cuda::CublasLibrary;

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return CublasLibrary::Call("cublasLtCreate", cublasLtCreate, handle);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  return CublasLibrary::Call("cublasLtDestroy", cublasLtDestroy, handle);
}

const char* cublasLtGetStatusString(cublasStatus_t status) {
  void* const symbol = CublasLibrary::Get().Find("cublasLtGetStatusString");
  if (symbol == nullptr) return CublasLibrary::Get().error().c_str();
  return reinterpret_cast<const char* (*)(cublasStatus_t)>(symbol)(status);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void* alpha, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  return CublasLibrary::Call("cublasLtMatmul", cublasLtMatmul, handle, operation, alpha, a,
                             a_layout, b, b_layout, beta, c, c_layout, d, d_layout, algorithm,
                             workspace, workspace_bytes, stream);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t stride) {
  return CublasLibrary::Call("cublasLtMatrixLayoutCreate", cublasLtMatrixLayoutCreate, layout, type,
                             rows, cols, stride);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return CublasLibrary::Call("cublasLtMatrixLayoutDestroy", cublasLtMatrixLayoutDestroy, layout);
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  return CublasLibrary::Call("cublasLtMatrixLayoutSetAttribute", cublasLtMatrixLayoutSetAttribute,
                             layout, attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation,
                                        cublasComputeType_t compute, cudaDataType_t scale) {
  return CublasLibrary::Call("cublasLtMatmulDescCreate", cublasLtMatmulDescCreate, operation,
                             compute, scale);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  return CublasLibrary::Call("cublasLtMatmulDescDestroy", cublasLtMatmulDescDestroy, operation);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  return CublasLibrary::Call("cublasLtMatmulDescSetAttribute", cublasLtMatmulDescSetAttribute,
                             operation, attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return CublasLibrary::Call("cublasLtMatmulPreferenceCreate", cublasLtMatmulPreferenceCreate,
                             preference);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return CublasLibrary::Call("cublasLtMatmulPreferenceDestroy", cublasLtMatmulPreferenceDestroy,
                             preference);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  return CublasLibrary::Call("cublasLtMatmulPreferenceSetAttribute",
                             cublasLtMatmulPreferenceSetAttribute, preference, attribute, value,
                             bytes);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, cublasLtMatrixLayout_t a_layout,
    cublasLtMatrixLayout_t b_layout, cublasLtMatrixLayout_t c_layout,
    cublasLtMatrixLayout_t d_layout, cublasLtMatmulPreference_t preference, int wanted,
    cublasLtMatmulHeuristicResult_t results[], int* found) {
  return CublasLibrary::Call("cublasLtMatmulAlgoGetHeuristic", cublasLtMatmulAlgoGetHeuristic,
                             handle, operation, a_layout, b_layout, c_layout, d_layout, preference,
                             wanted, results, found);
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                       cublasLtMatrixLayout_t a_layout,
                                       cublasLtMatrixLayout_t b_layout,
                                       cublasLtMatrixLayout_t c_layout,
                                       cublasLtMatrixLayout_t d_layout,
                                       const cublasLtMatmulAlgo_t* algorithm,
                                       cublasLtMatmulHeuristicResult_t* result) {
  return CublasLibrary::Call("cublasLtMatmulAlgoCheck", cublasLtMatmulAlgoCheck, handle, operation,
                             a_layout, b_layout, c_layout, d_layout, algorithm, result);
}
