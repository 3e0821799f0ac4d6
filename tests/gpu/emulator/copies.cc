// Asynchronous copies: what they bring lands as late as it may.
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
  const size_t landing = self.groups.size() - left, end = self.groups[landing - 1];
  for (size_t i = 0; i < end; ++i) {
    const CopyInFlight& copy = self.copies[i];
    const auto valid = static_cast<size_t>(copy.valid_bytes);
    if (valid > 0) std::memcpy(copy.to, copy.from, valid);
    std::memset(static_cast<std::byte*>(copy.to) + valid, 0,
                static_cast<size_t>(copy.bytes) - valid);
  }
  self.copies.erase(self.copies.begin(), self.copies.begin() + static_cast<ptrdiff_t>(end));
  self.groups.erase(self.groups.begin(), self.groups.begin() + static_cast<ptrdiff_t>(landing));
  for (size_t& group : self.groups) group -= end;
}

}  // namespace longleaf::emulator
