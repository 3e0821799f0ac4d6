// Blocks one after another, each with fresh shared memory; and what a launch complains of.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/gpu/emulator/block_state.h"
#include "tests/gpu/emulator/emulator.h"

#ifdef LONGLEAF_EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#else
// The bounds of the section of __shared__ variables, by the linker; null where there are none.
extern "C" char __start_longleaf_shared[] __attribute__((weak));
extern "C" char __stop_longleaf_shared[] __attribute__((weak));
#endif

namespace longleaf::emulator {

std::string Describe(const Thread& thread) {
  char text[160];
  std::snprintf(text, sizeof text, "block (%u, %u, %u), thread (%u, %u, %u)", blockIdx.x,
                blockIdx.y, blockIdx.z, thread.index.x, thread.index.y, thread.index.z);
  return text;
}

void Complain(const std::string& where, const std::string& what) {
  std::fprintf(stderr, "emulator: %s, %s: %s\n", block.grid->kernel, where.c_str(), what.c_str());
  block.failed = true;
}

namespace {

constexpr size_t kRedzone = 1024;
constexpr std::byte kRedzoneByte{0xa5};

// Nothing can run and not all have returned.
void ComplainOfStandstill() {
  int waiting[5] = {};
  const Thread* first = nullptr;
  for (int i = 0; i < block.thread_count; ++i) {
    const Thread& thread = block.threads[static_cast<size_t>(i)];
    ++waiting[static_cast<int>(thread.wait)];
    if (first == nullptr && thread.wait != Wait::kReturned) first = &thread;
  }
  char text[240];
  std::snprintf(
      text, sizeof text,
      "stands still: %d threads wait at a barrier, %d for their warp, %d for a condition; "
      "%d have returned",
      waiting[static_cast<int>(Wait::kBarrier)], waiting[static_cast<int>(Wait::kWarp)],
      waiting[static_cast<int>(Wait::kUntil)], waiting[static_cast<int>(Wait::kReturned)]);
  Complain(Describe(*first), text);
}

void FillShared(bool also_static) {
  std::memset(block.shared, kNan, block.shared_bytes);
#ifndef LONGLEAF_EMULATOR_ASAN
  if (also_static && __start_longleaf_shared != nullptr) {
    std::memset(__start_longleaf_shared, kNan,
                static_cast<size_t>(__stop_longleaf_shared - __start_longleaf_shared));
  }
#else
  (void)also_static;
#endif
}

// Under the address sanitizer it cannot be touched at all.
bool RedzoneIsWhole() {
#ifdef LONGLEAF_EMULATOR_ASAN
  return true;
#else
  const std::byte* redzone = block.shared + block.shared_bytes;
  return std::all_of(redzone, redzone + kRedzone, [](std::byte b) { return b == kRedzoneByte; });
#endif
}

bool RunBlock(const Grid& grid) {
  block.thread_count = static_cast<int>(grid.block.x * grid.block.y * grid.block.z);
  block.warp_count = (block.thread_count + kLanes - 1) / kLanes;
  block.returned = block.waiting_until = 0;
  for (BlockBarrier& barrier : block.barriers) {
    barrier.arrived = barrier.threads = 0;
    barrier.waiting.clear();
  }
  block.ready_warps = 0;
  int i = 0;
  for (uint32_t z = 0; z < grid.block.z; ++z) {
    for (uint32_t y = 0; y < grid.block.y; ++y) {
      for (uint32_t x = 0; x < grid.block.x; ++x, ++i) {
        Thread& thread = block.threads[static_cast<size_t>(i)];
        thread.index = {x, y, z};
        thread.warp = i / kLanes;
        thread.lane = i % kLanes;
        thread.fiber = nullptr;
        thread.copies.clear();
        thread.groups.clear();
        thread.promises.clear();
        thread.products.clear();
        thread.product_groups.clear();
        thread.wait = Wait::kNone;
      }
    }
  }
  for (int w = 0; w < block.warp_count; ++w) {
    Warp& warp = block.warps[w];
    warp.lanes = std::min(kLanes, block.thread_count - w * kLanes);
    warp.ready = warp.lanes == kLanes ? ~0u : (1u << warp.lanes) - 1;
    warp.arrived = 0;
    warp.together = nullptr;
    block.ready_warps |= 1u << w;
  }
  RunThreads();
  if (!block.failed && block.returned != block.thread_count) ComplainOfStandstill();
  if (!block.failed && !RedzoneIsWhole()) {
    Complain(Describe(block.threads[0]), "the block wrote past the end of dynamic shared memory");
  }
  if (block.failed) {
    // Their stacks are left as they are; nothing on them needs an end.
    block.idle.clear();
    for (const auto& fiber : block.fibers) block.idle.push_back(fiber.get());
  }
  return !block.failed;
}

}  // namespace

bool RunGrid(const Grid& grid, const std::function<void()>& thread) {
  static uint32_t launches = 0;
  block.random = (Seed() * 2654435761u) ^ (++launches * 40503u);
  if (block.random == 0) block.random = 1;
  block.grid = &grid;
  block.body = &thread;
  block.failed = false;
  blockDim = grid.block;
  gridDim = grid.grid;
  if (block.shared == nullptr) {
    block.shared = static_cast<std::byte*>(std::aligned_alloc(1024, kMostShared + 2 * kRedzone));
  }
  block.shared_bytes = grid.shared_bytes;
  std::memset(block.shared + block.shared_bytes, std::to_integer<int>(kRedzoneByte), kRedzone);
#ifdef LONGLEAF_EMULATOR_ASAN
  __asan_poison_memory_region(block.shared + block.shared_bytes,
                              kMostShared + 2 * kRedzone - block.shared_bytes);
#endif
  // Blocks in an order that depends on the seed too.
  const uint64_t blocks = uint64_t{grid.grid.x} * grid.grid.y * grid.grid.z;
  const uint64_t first = Random() % blocks;
  const bool backwards = Random() % 2 == 0;
  bool ok = true;
  for (uint64_t i = 0; i < blocks && ok; ++i) {
    const uint64_t b = (backwards ? 2 * blocks - 1 - i + first : i + first) % blocks;
    blockIdx = {static_cast<uint32_t>(b % grid.grid.x),
                static_cast<uint32_t>(b / grid.grid.x % grid.grid.y),
                static_cast<uint32_t>(b / grid.grid.x / grid.grid.y)};
    FillShared(i == 0 || Random() % 4 == 0);
    ok = RunBlock(grid);
  }
#ifdef LONGLEAF_EMULATOR_ASAN
  __asan_unpoison_memory_region(block.shared, kMostShared + 2 * kRedzone);
#endif
  return ok;
}

void Fault(const char* what) {
  Complain(Describe(*block.running), what);
  GiveUp();
  std::abort();  // not reached
}

std::byte* DynamicSharedMemory() { return block.shared; }

}  // namespace longleaf::emulator
