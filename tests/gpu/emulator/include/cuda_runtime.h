// CUDA C++ for a C++ compiler: the language, the host side and what kernels call, over the
// emulator.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_CUDA_RUNTIME_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_CUDA_RUNTIME_H_

#include <cuda_runtime_api.h>

#include <tuple>
#include <utility>

#include "tests/gpu/emulator/intrinsics.h"
#include "tests/gpu/emulator/launch.h"

template <typename T>
cudaError_t cudaMalloc(T** data, size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(data), bytes);
}

template <typename T>
cudaError_t cudaHostAlloc(T** data, size_t bytes, unsigned int flags) {
  return cudaHostAlloc(reinterpret_cast<void**>(data), bytes, flags);
}

// The arguments are taken by value when the launch is enqueued.
template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  return longleaf::emulator::EnqueueKernel(
      *config, reinterpret_cast<const void*>(kernel), __PRETTY_FUNCTION__,
      [kernel, values = std::move(values)] { std::apply(kernel, values); });
}

template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute attribute, int value) {
  return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

// As many blocks as fit by shared memory and threads; registers are not looked at.
template <typename Kernel>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Kernel, int threads,
                                                          size_t shared_bytes) {
  const auto by_shared = static_cast<int>(233472 / (shared_bytes + 1024));
  const int by_threads = 2048 / threads;
  *blocks = by_shared < by_threads ? by_shared : by_threads;
  return cudaSuccess;
}

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_CUDA_RUNTIME_H_
