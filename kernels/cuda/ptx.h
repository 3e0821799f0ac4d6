// What kernels use of the machine below CUDA C++: asynchronous copies, matrix fragments,
// approximate functions, dynamic shared memory. One small function an instruction and nothing else:
// of this folder, tests/gpu/emulator replaces this file and hopper_ptx.h by its own, and no other.
//
// Fragments, for lane = threadIdx.x % 32 with g = lane / 4 and t = lane % 4:
//   16x16 bf16 A     a[0] (g, 2t..2t+1)  a[1] (g+8, 2t..)  a[2] (g, 2t+8..)  a[3] (g+8, 2t+8..)
//   16x8  bf16 B     b0 (rows 2t..2t+1, column g)   b1 (rows 2t+8..2t+9, column g)
//   16x8  f32 C      c[0], c[1] (g, 2t..2t+1)   c[2], c[3] (g+8, 2t..2t+1)
// The element of the lower index is in the lower bits. Functions marked "warp" are collectives: all
// 32 lanes call them together.
#ifndef LONGLEAF_KERNELS_CUDA_PTX_H_
#define LONGLEAF_KERNELS_CUDA_PTX_H_

#include <cuda_runtime.h>

#include <cstdint>

namespace longleaf::kernels::cuda {

// The dynamic shared memory of the block, aligned to 1024 bytes; its size is that of the launch.
template <typename T>
__device__ __forceinline__ T* DynamicShared() {
  extern __shared__ __align__(1024) unsigned char longleaf_dynamic_shared[];
  return reinterpret_cast<T*>(longleaf_dynamic_shared);
}

// The address that instructions on shared memory take.
__device__ __forceinline__ uint32_t SharedAddress(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// ---- Asynchronous copies (sm_80) ---------------------------------------------------------------

// Starts a copy of 16 bytes, past the first-level cache. Of the source only `valid_bytes` (0..16)
// are read; the others become zero. Both addresses are aligned to 16, also where nothing is read.
__device__ __forceinline__ void CpAsync16(void* shared, const void* global, int valid_bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(SharedAddress(shared)),
               "l"(global), "r"(valid_bytes)
               : "memory");
}

// The same of 4 bytes (0..4 valid), aligned to 4.
__device__ __forceinline__ void CpAsync4(void* shared, const void* global, int valid_bytes = 4) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;\n" ::"r"(SharedAddress(shared)),
               "l"(global), "r"(valid_bytes)
               : "memory");
}

// Closes the group of this thread's copies since the last one.
__device__ __forceinline__ void CpAsyncCommit() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}

// Waits until all but the newest N of this thread's groups are there. Other threads see them after
// the next barrier.
template <int N>
__device__ __forceinline__ void CpAsyncWait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(N) : "memory");
}

// ---- Matrix fragments (sm_80) ------------------------------------------------------------------

// Warp: four 8x8 matrices of 16-bit elements. Lane i gives the address of row i % 8 of matrix i /
// 8: 8 elements, aligned to 16 bytes. r[m] is the pair (row g, columns 2t, 2t+1) of matrix m.
__device__ __forceinline__ void LdMatrixX4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row))
               : "memory");
}

// Warp: the same, transposed: r[m] is the pair (rows 2t, 2t+1; column g) of matrix m.
__device__ __forceinline__ void LdMatrixX4Trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(SharedAddress(row))
               : "memory");
}

// Warp: c += a b, [16, 16] times [16, 8], bf16 into f32.
__device__ __forceinline__ void MmaBf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0,
                                        uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// ---- Arithmetic --------------------------------------------------------------------------------

// 2^x, about 2 units in the last place; 0 for minus infinity.
__device__ __forceinline__ float Exp2Approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}

// Both rounded to bf16, to nearest even: `low` in the lower 16 bits.
__device__ __forceinline__ uint32_t PackBf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// (a & mask) | bits, as one instruction where the compiler would make two of it.
__device__ __forceinline__ uint32_t AndOr(uint32_t a, uint32_t mask, uint32_t bits) {
  uint32_t result;
  asm("lop3.b32 %0, %1, %2, %3, 0xea;\n" : "=r"(result) : "r"(a), "r"(mask), "r"(bits));
  return result;
}

// a - b of both bf16 halves, each rounded to nearest even.
__device__ __forceinline__ uint32_t SubtractBf16x2(uint32_t a, uint32_t b) {
  uint32_t difference;
  asm("fma.rn.bf16x2 %0, %2, %3, %1;\n" : "=r"(difference) : "r"(a), "r"(b), "r"(0xbf80bf80u));
  return difference;
}

// ---- Barriers of parts of a block --------------------------------------------------------------

// Waits until `threads` threads (a multiple of 32, whole warps) have come to barrier `id` (1..15; 0
// is that of __syncthreads), by this or by BarrierArrive.
__device__ __forceinline__ void BarrierSync(int id, int threads) {
  asm volatile("bar.sync %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}
// Counts as having come, and goes on.
__device__ __forceinline__ void BarrierArrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;\n" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_PTX_H_
