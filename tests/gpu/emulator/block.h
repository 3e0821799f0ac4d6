// How the threads of a block run: each is a fiber with a stack of its own, which goes on until it
// comes to a barrier or to something that a whole warp does together. Which one is next is drawn
// from a seed, so that a missing barrier shows as an error of the result.
//
// Everything here is called under the emulator's lock; what is called by kernels, from fibers.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_BLOCK_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <functional>

#include "tests/gpu/emulator/language.h"

namespace longleaf::emulator {

// ---- For launches ------------------------------------------------------------------------------

struct Grid {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;
  const char* kernel = "";  // for messages
};

// Runs `thread` as every thread of every block. False when one of them did what a device does not
// bear; what it was is on stderr, and the rest of the grid has not run.
bool RunGrid(const Grid& grid, const std::function<void()>& thread);

// The most dynamic shared memory that a block can have.
inline constexpr size_t kMostShared = 232448;

// ---- For what kernels call ---------------------------------------------------------------------

// Ends the launch with an error; does not return, and nothing of the stack it stands on is
// destroyed.
[[noreturn]] void Fault(const char* what);

// The lane of the running thread.
int Lane();

// Calls `together` once, when all 32 lanes of the warp have come here with it: with what each gave,
// by lane. What it writes there is what the lanes see when they go on.
using Together = void (*)(void* const* arguments);
void WarpTogether(Together together, void* argument);

// Waits until `threads` threads have come to barrier `id` (0..15). __syncthreads is barrier 0 with
// all the threads. An arrival counts without waiting.
void Barrier(int id, int threads);
void ArriveAtBarrier(int id, int threads);
int ThreadsOfBlock();

// Waits until `reached(argument)`, which is asked whenever no thread can go on otherwise, and now
// and then.
void WaitUntil(bool (*reached)(void*), void* argument);

// The block's dynamic shared memory, aligned to 1024.
std::byte* DynamicSharedMemory();

// ---- Asynchronous copies of the running thread --------------------------------------------------

// From now on the target holds NaN; the bytes land when the thread waits for their group.
void StartCopy(void* to, const void* from, int bytes, int valid_bytes);
void CloseCopyGroup();
void WaitForCopyGroups(int newest_left);

}  // namespace longleaf::emulator

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_BLOCK_H_
