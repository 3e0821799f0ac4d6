// The emulated twin of kernels/cuda/ptx.h, found before it: the same functions with the same
// meaning, stated there.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_KERNELS_CUDA_PTX_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_KERNELS_CUDA_PTX_H_

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "tests/gpu/emulator/matrix_ops.h"

namespace longleaf::kernels::cuda {

template <typename T>
T* DynamicShared() {
  return reinterpret_cast<T*>(emulator::DynamicSharedMemory());
}

inline void CpAsync16(void* shared, const void* global, int valid_bytes = 16) {
  emulator::StartCopy(shared, global, 16, valid_bytes);
}
inline void CpAsync4(void* shared, const void* global, int valid_bytes = 4) {
  emulator::StartCopy(shared, global, 4, valid_bytes);
}
inline void CpAsyncCommit() { emulator::CloseCopyGroup(); }
template <int N>
void CpAsyncWait() {
  emulator::WaitForCopyGroups(N);
}

inline void LdMatrixX4(uint32_t (&r)[4], const void* row) { emulator::LoadMatrices(r, row, false); }
inline void LdMatrixX4Trans(uint32_t (&r)[4], const void* row) {
  emulator::LoadMatrices(r, row, true);
}
inline void MmaBf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emulator::MultiplyBf16(c, a, b0, b1);
}

inline float Exp2Approximate(float x) { return std::exp2(x); }
inline uint32_t PackBf16(float low, float high) {
  return uint32_t{emulator::RoundToBf16(high)} << 16 | emulator::RoundToBf16(low);
}

inline uint32_t AndOr(uint32_t a, uint32_t mask, uint32_t bits) { return (a & mask) | bits; }
inline uint32_t SubtractBf16x2(uint32_t a, uint32_t b) {
  const auto half = [](uint32_t bits) { return std::bit_cast<float>(bits & 0xffff0000u); };
  return PackBf16(half(a << 16) - half(b << 16), half(a) - half(b));
}

inline void BarrierSync(int id, int threads) { emulator::Barrier(id, threads); }
inline void BarrierArrive(int id, int threads) { emulator::ArriveAtBarrier(id, threads); }

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_KERNELS_CUDA_PTX_H_
