// Which thread of the block runs next, and what they wait for.
#include <bit>
#include <cstdio>
#include <cstdlib>

#include "tests/gpu/emulator/block_state.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace longleaf::emulator {

Block block;

uint32_t Random() {
  block.random ^= block.random << 13;
  block.random ^= block.random >> 17;
  block.random ^= block.random << 5;
  return block.random;
}

namespace {

void FiberMain();

void MakeReady(Thread& thread) {
  thread.wait = Wait::kNone;
  block.warps[thread.warp].ready |= 1u << thread.lane;
  block.ready_warps |= 1u << thread.warp;
}

void BeginPass(int warp) {
  const uint32_t random = Random();
  block.warp = warp;
  block.lane = static_cast<int>(random % kLanes);
  block.stride = static_cast<int>((random >> 8 | 1) % kLanes);
  block.left = kLanes;
}

// Those whose condition has come true can run again. Returns whether there was one.
bool AskWhoWaits() {
  bool any = false;
  for (int i = 0; i < block.thread_count; ++i) {
    Thread& thread = block.threads[static_cast<size_t>(i)];
    if (thread.wait == Wait::kUntil && thread.reached(thread.reached_argument)) {
      --block.waiting_until;
      MakeReady(thread);
      any = true;
    }
  }
  return any;
}

// The thread that runs next, or null when none can.
Thread* Next() {
  for (;;) {
    Warp& warp = block.warps[block.warp];
    while (block.left > 0 && warp.ready != 0) {
      const int lane = block.lane;
      block.lane = (block.lane + block.stride) % kLanes;
      --block.left;
      if ((warp.ready >> lane & 1) != 0) {
        warp.ready &= ~(1u << lane);
        return &block.threads[static_cast<size_t>(block.warp * kLanes + lane)];
      }
    }
    if (warp.ready == 0) block.ready_warps &= ~(1u << block.warp);
    if (block.waiting_until > 0 && (block.ready_warps == 0 || Random() % 8 == 0)) AskWhoWaits();
    if (block.ready_warps == 0) return nullptr;
    const int turn = static_cast<int>(Random() % kLanes);
    BeginPass((std::countr_zero(std::rotr(block.ready_warps, turn)) + turn) % kLanes);
  }
}

// Runs `thread` (null: the host) in place of what runs.
void SwitchTo(Thread* thread, Context& from, bool last) {
  block.running = thread;
  if (thread == nullptr) {
    Context::Switch(from, block.host, last);
    return;
  }
  if (thread->fiber == nullptr) {
    if (block.idle.empty()) {
      block.fibers.push_back(std::make_unique<Context>());
      block.idle.push_back(block.fibers.back().get());
    }
    thread->fiber = block.idle.back();
    block.idle.pop_back();
    if (!thread->fiber->Prepare(FiberMain)) {
      std::fputs("emulator: no memory for stacks\n", stderr);
      std::abort();
    }
  }
  threadIdx = thread->index;
  if (thread->fiber != &from) Context::Switch(from, *thread->fiber, last);
}

// The running thread has put down what it waits for.
void Yield() { SwitchTo(Next(), *block.running->fiber, false); }

void FiberMain() {
  Context::Entered();
  Context* const fiber = block.running->fiber;
  Thread* next = nullptr;
  do {  // threads that have not begun begin on the same stack
    (*block.body)();
    block.running->fiber = nullptr;
    block.running->wait = Wait::kReturned;
    ++block.returned;
    next = Next();
    if (next == nullptr || next->fiber != nullptr) break;
    next->fiber = fiber;
    block.running = next;
    threadIdx = next->index;
  } while (true);
  block.idle.push_back(fiber);
  SwitchTo(next, *fiber, true);
}

}  // namespace

void RunThreads() {
  BeginPass(0);
  block.left = 0;
  SwitchTo(Next(), block.host, false);
}

void GiveUp() { SwitchTo(nullptr, *block.running->fiber, true); }

int Lane() { return block.running->lane; }

int ThreadsOfBlock() { return block.thread_count; }

void WarpTogether(Together together, void* argument) {
  Thread& self = *block.running;
  Warp& warp = block.warps[self.warp];
  if (warp.lanes != kLanes) Fault("a warp of fewer than 32 threads does something together");
  if (warp.arrived == 0) {
    warp.together = together;
  } else if (warp.together != together) {
    Fault("the lanes of a warp do different things together");
  }
  warp.arguments[self.lane] = argument;
  if (++warp.arrived < kLanes) {
    self.wait = Wait::kWarp;
    Yield();
    return;
  }
  together(warp.arguments);
  warp.arrived = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    block.threads[static_cast<size_t>(self.warp * kLanes + lane)].wait = Wait::kNone;
  }
  // This one goes on; the others in an order of their own, sometimes after other warps.
  warp.ready = ~(1u << self.lane);
  block.ready_warps |= 1u << self.warp;
  BeginPass(self.warp);
  if (Random() % 8 == 0) block.left = 0;
}

void ArriveAtBarrier(int id, int threads) {
  if (id < 0 || id >= kBarriers) Fault("there is no such barrier");
  if (threads % kLanes != 0 && threads != block.thread_count) {
    Fault("a barrier for a part of a warp");
  }
  BlockBarrier& barrier = block.barriers[id];
  if (barrier.arrived == 0) barrier.threads = threads;
  if (barrier.threads != threads) Fault("the threads at a barrier disagree about their number");
  if (++barrier.arrived < threads) return;
  for (const int waiting : barrier.waiting) {
    MakeReady(block.threads[static_cast<size_t>(waiting)]);
  }
  barrier.waiting.clear();
  barrier.arrived = 0;
}

void Barrier(int id, int threads) {
  Thread& self = *block.running;
  ArriveAtBarrier(id, threads);
  BlockBarrier& barrier = block.barriers[id];
  if (barrier.arrived == 0) {
    MakeReady(self);  // the last one; whose turn it is next is drawn anew
    block.left = 0;
  } else {
    barrier.waiting.push_back(self.warp * kLanes + self.lane);
    self.wait = Wait::kBarrier;
    self.barrier = id;
  }
  Yield();
}

void WaitUntil(bool (*reached)(void*), void* argument) {
  if (reached(argument)) return;
  Thread& self = *block.running;
  self.wait = Wait::kUntil;
  self.reached = reached;
  self.reached_argument = argument;
  ++block.waiting_until;
  Yield();
}

}  // namespace longleaf::emulator
