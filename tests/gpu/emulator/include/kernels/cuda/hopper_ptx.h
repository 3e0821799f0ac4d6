// The emulated twin of kernels/cuda/hopper_ptx.h, found before it: the same functions with the same
// meaning, stated there.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_KERNELS_CUDA_HOPPER_PTX_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_KERNELS_CUDA_HOPPER_PTX_H_

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/ptx.h"
#include "tests/gpu/emulator/warpgroup_ops.h"

namespace longleaf::kernels::cuda {

inline constexpr int kWarpgroup = 128;

inline void PhaseInit(uint64_t* barrier, uint32_t count) { emulator::InitPhases(barrier, count); }
inline void PhaseArrive(uint64_t* barrier) { emulator::ArriveAtPhase(barrier); }
inline void PhaseArriveWhenCopied(uint64_t* barrier) { emulator::ArriveWhenCopied(barrier); }
inline void PhaseWait(uint64_t* barrier, uint32_t parity) {
  emulator::WaitForPhase(barrier, parity);
}
inline void FenceForProducts() {}

template <int kCount>
void KeepRegisters() {}
template <int kCount>
void TakeRegisters() {}

inline void ProductsFence() {}
inline void ProductsCommit() { emulator::CloseProductGroup(); }
template <int kPending>
void ProductsWait() {
  emulator::WaitForProductGroups(kPending);
}
template <int kCount>
void Pin(float (&)[kCount]) {}

template <int kRowBytes>
uint64_t ProductTile(const void* shared, uint32_t block_stride, uint32_t row_stride) {
  static_assert(kRowBytes == 128 || kRowBytes == 64);
  return uint64_t{emulator::SharedOffset(shared) >> 4} | uint64_t{block_stride >> 4} << 16 |
         uint64_t{row_stride >> 4} << 32 | uint64_t{kRowBytes == 128 ? 1u : 2u} << 62;
}
inline uint64_t AdvanceTile(uint64_t tile, int bytes) {
  return tile + static_cast<uint64_t>(bytes >> 4);
}

template <bool kTransposed, int kCount>
void Product(float (&acc)[kCount], const uint32_t (&a)[4], uint64_t b, bool add) {
  static_assert(kCount == 32 || kCount == 48 || kCount == 64);
  emulator::BeginProduct(acc, 2 * kCount, a, b, kTransposed, add);
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_KERNELS_CUDA_HOPPER_PTX_H_
