// Switching stacks: a few instructions on x86-64, ucontext elsewhere.
#include "tests/gpu/emulator/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdlib>

#include "tests/gpu/emulator/language.h"

#ifdef LONGLEAF_EMULATOR_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef __x86_64__
// Saves what a call preserves on the stack that is left, and takes it from the one that is entered.
extern "C" void longleaf_emulator_switch(void** save, void* enter);
asm(R"(
.text
.p2align 4
.type longleaf_emulator_switch, @function
longleaf_emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size longleaf_emulator_switch, . - longleaf_emulator_switch
)");
#endif

namespace longleaf::emulator {
namespace {

constexpr size_t kGuard = 4096;
Context* left = nullptr;     // by the last switch
Context* entered = nullptr;  // by it

}  // namespace

Context::~Context() {
  if (stack_ != nullptr) munmap(static_cast<char*>(stack_) - kGuard, kStackBytes + kGuard);
#ifndef __x86_64__
  delete static_cast<ucontext_t*>(stack_pointer_);
#endif
}

bool Context::Prepare(void (*entry)()) {
  if (stack_ == nullptr) {
    void* memory = mmap(nullptr, kStackBytes + kGuard, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return false;
    mprotect(memory, kGuard, PROT_NONE);
    stack_ = static_cast<char*>(memory) + kGuard;
    bottom_ = stack_;
    size_ = kStackBytes;
    // Were the tops of all stacks equally far into their pages, they would share a few sets of the
    // processor's cache, and every switch would miss it.
    static size_t stacks = 0;
    colour_ = stacks++ * 5 % 64 * 64;
  }
#ifdef LONGLEAF_EMULATOR_ASAN
  // Whoever was here before may have been left in the middle.
  __asan_unpoison_memory_region(stack_, kStackBytes);
#endif
  fake_stack_ = nullptr;
#ifdef __x86_64__
  // As if it had called the switch: six registers, the entry, and where the entry would return to,
  // which stands 8 bytes below a multiple of 16 as after a call.
  auto* top = reinterpret_cast<uint64_t*>(static_cast<char*>(stack_) + kStackBytes - colour_);
  *--top = 0;
  *--top = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
  stack_pointer_ = top;
#else
  if (stack_pointer_ == nullptr) stack_pointer_ = new ucontext_t;
  auto* context = static_cast<ucontext_t*>(stack_pointer_);
  getcontext(context);
  context->uc_stack.ss_sp = stack_;
  context->uc_stack.ss_size = kStackBytes - colour_;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
#endif
  return true;
}

void Context::Switch(Context& from, Context& to, [[maybe_unused]] bool last) {
  left = &from;
  entered = &to;
#ifdef LONGLEAF_EMULATOR_ASAN
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack_, to.bottom_, to.size_);
#endif
#ifdef __x86_64__
  longleaf_emulator_switch(&from.stack_pointer_, to.stack_pointer_);
#else
  if (from.stack_pointer_ == nullptr) from.stack_pointer_ = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(from.stack_pointer_),
              static_cast<ucontext_t*>(to.stack_pointer_));
#endif
  Entered();
}

void Context::Entered() {
#ifdef LONGLEAF_EMULATOR_ASAN
  const void* bottom = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(entered->fake_stack_, &bottom, &size);
  if (left->stack_ == nullptr) {
    left->bottom_ = bottom;
    left->size_ = size;
  }
#endif
}

}  // namespace longleaf::emulator
