// The one block that runs, as the files that run it see it.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_BLOCK_STATE_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_BLOCK_STATE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/gpu/emulator/block.h"
#include "tests/gpu/emulator/fiber.h"

namespace longleaf::emulator {

inline constexpr int kLanes = 32, kMostThreads = 1024, kBarriers = 16;
inline constexpr unsigned char kNan = 0xff;

struct CopyInFlight {
  void* to;
  const void* from;
  int bytes, valid_bytes;
};

// An arrival that comes when the thread's first copies are there: warpgroup_ops.h.
struct PromisedArrival {
  uint64_t* barrier;
  size_t copies;
};

// Of one thread: warpgroup_ops.h.
struct ProductInFlight {
  float* acc;
  bool add;
  std::vector<float> before;  // acc when it began; empty where a product of this acc flew already
  std::vector<float> sums;    // what it adds
  const uint32_t* a_from;
  uint32_t a[4];                                         // as they were
  std::vector<std::pair<const std::byte*, uint16_t>> b;  // likewise, of the first lane alone
};

enum class Wait { kNone, kWarp, kBarrier, kUntil, kReturned };

struct Thread {
  uint3 index{};
  int warp = 0, lane = 0;
  Context* fiber = nullptr;  // null: not begun, or returned
  Wait wait = Wait::kNone;
  int barrier = 0;
  bool (*reached)(void*) = nullptr;
  void* reached_argument = nullptr;
  std::vector<CopyInFlight> copies;       // in the order of their beginning
  std::vector<size_t> groups;             // ends of closed groups in `copies`
  std::vector<PromisedArrival> promises;  // likewise
  std::vector<ProductInFlight> products;  // likewise
  std::vector<size_t> product_groups;
};

struct Warp {
  uint32_t ready = 0;  // lanes that can run
  int lanes = 0;       // 32 but for the last
  int arrived = 0;
  Together together = nullptr;
  void* arguments[kLanes];
};

struct BlockBarrier {
  int arrived = 0, threads = 0;
  std::vector<int> waiting;
};

// One launch at a time, so one of these.
struct Block {
  const Grid* grid = nullptr;
  const std::function<void()>* body = nullptr;
  std::vector<Thread> threads{kMostThreads};
  int thread_count = 0, warp_count = 0, returned = 0, waiting_until = 0;
  Warp warps[kMostThreads / kLanes];
  uint32_t ready_warps = 0;
  BlockBarrier barriers[kBarriers];
  // The pass over the lanes of one warp.
  int warp = 0, lane = 0, stride = 1, left = 0;
  Thread* running = nullptr;
  Context host;
  bool failed = false;
  uint32_t random = 1;
  std::vector<std::unique_ptr<Context>> fibers;
  std::vector<Context*> idle;
  std::byte* shared = nullptr;
  size_t shared_bytes = 0;
};
extern Block block;

uint32_t Random();
// The threads of `block` up to their end, or to where none can go on. All of them are ready.
void RunThreads();
// Goes back to whoever called RunThreads, for good.
void GiveUp();
// The thread's first `end` copies are there.
void LandCopies(Thread& thread, size_t end);
// A message on stderr, and the launch has failed.
void Complain(const std::string& where, const std::string& what);
// "block (0, 0, 0), thread (1, 0, 0)"
std::string Describe(const Thread& thread);

}  // namespace longleaf::emulator

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_BLOCK_STATE_H_
