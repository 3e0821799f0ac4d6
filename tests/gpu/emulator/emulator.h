// What tests may ask of the emulated device. Callable from any thread.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_EMULATOR_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_EMULATOR_H_

#include <cuda_runtime_api.h>

#include <cstdint>

namespace longleaf::emulator {

// The order of threads, warps and blocks follows from it and from the number of launches before.
// At first LONGLEAF_EMULATOR_SEED of the environment, or 1.
void SetSeed(uint32_t seed);
uint32_t Seed();

// What cudaMalloc can give in all, 4 GiB at first. What is allocated stays so.
void SetDeviceMemory(int64_t bytes);
int64_t DeviceMemoryInUse();

// 80 at first.
void SetComputeCapability(int capability);
int ComputeCapability();

// The `calls`-th call from now, 1 being the next, of those that can fail fails with `error` and
// does nothing. 0: none.
void FailCall(int64_t calls, cudaError_t error);
// How many such calls there have been.
int64_t Calls();

// Launches that ended with an error so far; a test that expects none sees that none was swallowed.
int64_t FailedLaunches();

// Work is done when someone waits for it, as late as a device may (the default; stale pinned memory
// and missing waits show); or as soon as it is enqueued.
void SetEager(bool eager);

}  // namespace longleaf::emulator

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_EMULATOR_H_
