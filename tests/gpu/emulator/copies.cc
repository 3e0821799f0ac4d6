// Asynchronous copies: what they bring lands as late as it may.
#include <algorithm>
#include <cstring>

#include "tests/gpu/emulator/block_state.h"

namespace longleaf::emulator {

void StartCopy(void* to, const void* from, int bytes, int valid_bytes) {
  const auto misaligned = [bytes](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(bytes) != 0;
  };
  if (misaligned(to) || misaligned(from)) Fault("an asynchronous copy is not aligned");
  if (valid_bytes < 0 || valid_bytes > bytes) Fault("an asynchronous copy of too many bytes");
  std::memset(to, kNan, static_cast<size_t>(bytes));
  block.running->copies.push_back({to, from, bytes, valid_bytes});
}

void CloseCopyGroup() { block.running->groups.push_back(block.running->copies.size()); }

void WaitForCopyGroups(int newest_left) {
  Thread& self = *block.running;
  const auto left = static_cast<size_t>(newest_left);
  if (self.groups.size() <= left) return;
  LandCopies(self, self.groups[self.groups.size() - left - 1]);
}

void LandCopies(Thread& thread, size_t end) {
  for (size_t i = 0; i < end; ++i) {
    const CopyInFlight& copy = thread.copies[i];
    const auto valid = static_cast<size_t>(copy.valid_bytes);
    if (valid > 0) std::memcpy(copy.to, copy.from, valid);
    std::memset(static_cast<std::byte*>(copy.to) + valid, 0,
                static_cast<size_t>(copy.bytes) - valid);
  }
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<ptrdiff_t>(end));
  std::erase_if(thread.groups, [end](size_t group) { return group <= end; });
  for (size_t& group : thread.groups) group -= end;
  for (PromisedArrival& promise : thread.promises) {
    promise.copies = std::max(promise.copies, end) - end;
  }
}

}  // namespace longleaf::emulator
