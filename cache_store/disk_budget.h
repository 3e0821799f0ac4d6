// The disk cap: what is used, what is promised, what still fits. Counting only; making room is the
// snapshot table's business.
#ifndef LONGLEAF_CACHE_STORE_DISK_BUDGET_H_
#define LONGLEAF_CACHE_STORE_DISK_BUDGET_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "cache_store/mutex.h"

namespace longleaf::store::internal {

enum class Use { kText, kTokens, kSegments, kReserved };

// Thread-safe.
class DiskBudget {
 public:
  // cap_bytes 0: no cap.
  explicit DiskBudget(int64_t cap_bytes) : cap_(cap_bytes) {}

  // Counts `bytes` if they fit under the cap.
  bool TryAdd(Use use, int64_t bytes) {
    MutexLock lock(&mutex_);
    if (Missing(bytes) > 0) return false;
    used_[Index(use)] += bytes;
    return true;
  }
  // Counts what is on the disk already, or gives back (negative).
  void Add(Use use, int64_t bytes) {
    MutexLock lock(&mutex_);
    used_[Index(use)] += bytes;
  }
  // A promise that was kept: `reserved` bytes were promised, `written` are on the disk.
  void Settle(int64_t reserved, int64_t written) {
    MutexLock lock(&mutex_);
    used_[Index(Use::kReserved)] -= reserved;
    used_[Index(Use::kSegments)] += written;
  }

  // How many bytes must go before `bytes` more fit; 0: they fit.
  int64_t MissingFor(int64_t bytes) {
    MutexLock lock(&mutex_);
    return Missing(bytes);
  }
  struct Used {
    int64_t text = 0;
    int64_t tokens = 0;
    int64_t segments = 0;
    int64_t reserved = 0;
  };
  // All at one moment: bytes that move from one use to another are never seen twice.
  Used used() {
    MutexLock lock(&mutex_);
    return {used_[Index(Use::kText)], used_[Index(Use::kTokens)], used_[Index(Use::kSegments)],
            used_[Index(Use::kReserved)]};
  }
  int64_t cap() const { return cap_; }

 private:
  static size_t Index(Use use) { return static_cast<size_t>(use); }
  int64_t Missing(int64_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (cap_ == 0) return 0;
    int64_t total = 0;
    for (const int64_t used : used_) total += used;
    // total and cap are far below 2^62; a caller's number may not be.
    return std::max<int64_t>(0, bytes - (cap_ - total));
  }

  const int64_t cap_;
  Mutex mutex_;
  std::array<int64_t, 4> used_ ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_DISK_BUDGET_H_
