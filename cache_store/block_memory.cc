// See block_memory.h.
#include "cache_store/block_memory.h"

#include <algorithm>
#include <new>

namespace longleaf::store::internal {

BlockMemory::~BlockMemory() {
  for (Header* header : kept_) ::operator delete (header, std::align_val_t{alignof(Header)});
}

void* BlockMemory::Allocate(size_t size) {
  if (size >= kLarge) {
    MutexLock lock(&mutex_);
    // Blocks of one store are of one size but for the last of a segment: the newest one that fits
    // without waste will do.
    const auto found = std::find_if(kept_.rbegin(), kept_.rend(), [size](const Header* header) {
      return header->size >= size && header->size / 2 <= size;
    });
    if (found != kept_.rend()) {
      Header* const header = *found;
      kept_.erase(std::next(found).base());
      kept_bytes_ -= header->size;
      return header + 1;
    }
  }
  void* const memory = ::operator new (sizeof(Header) + size, std::align_val_t{alignof(Header)});
  Header* const header = new (memory) Header{size};
  return header + 1;
}

void BlockMemory::Deallocate(void* block) {
  if (block == nullptr) return;
  Header* const header = static_cast<Header*>(block) - 1;
  if (header->size >= kLarge) {
    MutexLock lock(&mutex_);
    if (kept_bytes_ + header->size <= kMaxKeptBytes) {
      kept_.push_back(header);
      kept_bytes_ += header->size;
      return;
    }
  }
  ::operator delete (header, std::align_val_t{alignof(Header)});
}

}  // namespace longleaf::store::internal
