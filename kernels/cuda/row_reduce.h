// Sums and maxima over the threads of a block.
#ifndef LONGLEAF_KERNELS_CUDA_ROW_REDUCE_H_
#define LONGLEAF_KERNELS_CUDA_ROW_REDUCE_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace longleaf::kernels::cuda {

struct Add {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Most {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};
struct Least {
  template <typename T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a < b ? a : b;
  }
};

// Warp: every lane gets the same.
template <typename Operation, typename T>
__device__ __forceinline__ T WarpReduce(T value, Operation both) {
  for (int step = 16; step > 0; step /= 2) {
    value = both(value, __shfl_xor_sync(0xffffffffu, value, step));
  }
  return value;
}

// Block of whole warps, one-dimensional: every thread gets the same; a fixed tree. `parts` is
// shared memory of 32, and may be used again at once.
template <typename Operation, typename T>
__device__ __forceinline__ T BlockReduce(T value, Operation both, T* parts) {
  const int warps = static_cast<int>(blockDim.x) / 32;
  value = WarpReduce(value, both);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  value = parts[0];
  for (int w = 1; w < warps; ++w) value = both(value, parts[w]);
  __syncthreads();
  return value;
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ROW_REDUCE_H_
