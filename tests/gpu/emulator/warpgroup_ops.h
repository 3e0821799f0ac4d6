// Hopper's instructions, as kernels/cuda/hopper_ptx.h states them: barriers in shared memory and
// the asynchronous products of a warpgroup.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_WARPGROUP_OPS_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_WARPGROUP_OPS_H_

#include <cstdint>

namespace longleaf::emulator {

void InitPhases(uint64_t* barrier, uint32_t count);
void ArriveAtPhase(uint64_t* barrier);
// Arrives when the copies that the thread has begun are there, which is not before somebody waits
// for it.
void ArriveWhenCopied(uint64_t* barrier);
void WaitForPhase(uint64_t* barrier, uint32_t parity);

// Where `shared` lies in the block's dynamic shared memory. A fault where it does not.
uint32_t SharedOffset(const void* shared);

// Begins acc[64, columns] (+)= A[64, 16] B[16, columns]: of this thread, acc[columns / 2] and a[4].
// Until the thread waits for its group acc holds NaN. A fault at that point when A or B has been
// written since: a device may read them at any time between.
void BeginProduct(float* acc, int columns, const uint32_t* a, uint64_t tile, bool transposed,
                  bool add);
void CloseProductGroup();
void WaitForProductGroups(int newest_left);

}  // namespace longleaf::emulator

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_WARPGROUP_OPS_H_
