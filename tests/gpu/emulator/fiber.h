// Stacks that can be left and entered again.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_FIBER_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_FIBER_H_

#include <cstddef>

namespace longleaf::emulator {

// A place where execution can go on. The thread's own stack is one too, with no memory of its own.
// Entered and left by one thread at a time.
class Context {
 public:
  static constexpr size_t kStackBytes = 256 * 1024;

  Context() = default;  // what is running when it is first left
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  // The next switch to it calls `entry`, which does not return. False: no memory for a stack.
  bool Prepare(void (*entry)());

  // Leaves `from`, the one that runs; returns when something switches back to it. `last`: nothing
  // will.
  static void Switch(Context& from, Context& to, bool last = false);
  // First thing in an entry.
  static void Entered();

 private:
  void* stack_pointer_ = nullptr;
  void* stack_ = nullptr;         // [kStackBytes], above a page that cannot be touched
  const void* bottom_ = nullptr;  // what the address sanitizer wants to know
  size_t size_ = 0;
  size_t colour_ = 0;  // bytes at the top that are not used
  void* fake_stack_ = nullptr;
};

}  // namespace longleaf::emulator

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_FIBER_H_
