// Memory for the blocks of segment files. Large blocks are kept for the next read instead of going
// back to the system: mapping a fresh megabyte costs as much as reading it from the page cache.
#ifndef LONGLEAF_CACHE_STORE_BLOCK_MEMORY_H_
#define LONGLEAF_CACHE_STORE_BLOCK_MEMORY_H_

#include <rocksdb/memory_allocator.h>

#include <cstddef>
#include <vector>

#include "cache_store/mutex.h"

namespace longleaf::store::internal {

// Thread-safe.
class BlockMemory : public rocksdb::MemoryAllocator {
 public:
  ~BlockMemory() override;
  const char* Name() const override { return "longleaf.BlockMemory"; }
  void* Allocate(size_t size) override;
  void Deallocate(void* block) override;

 private:
  static constexpr size_t kLarge = size_t{256} << 10;  // smaller ones are malloc's business
  static constexpr size_t kMaxKeptBytes = size_t{32} << 20;

  struct alignas(64) Header {
    size_t size;
  };
  Mutex mutex_;
  std::vector<Header*> kept_ ABSL_GUARDED_BY(mutex_);
  size_t kept_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_BLOCK_MEMORY_H_
