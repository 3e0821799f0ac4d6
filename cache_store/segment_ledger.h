// The list of segments that nothing holds any more and whose bytes are to be taken off the disk.
//
// A Segment's destructor only notes its id here: it may run on any thread, under any lock. Shared
// by every Segment, so it lives as long as the last of them.
#ifndef LONGLEAF_CACHE_STORE_SEGMENT_LEDGER_H_
#define LONGLEAF_CACHE_STORE_SEGMENT_LEDGER_H_

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "cache_store/mutex.h"

namespace longleaf::store::internal {

struct DoomedSegment {
  int64_t id = 0;
  int64_t stored_bytes = 0;
};

// Thread-safe.
class SegmentLedger {
 public:
  void Doom(DoomedSegment segment) {
    MutexLock lock(&mutex_);
    if (closed_) return;
    doomed_.push_back(segment);
    changed_.NotifyAll();
  }

  std::vector<DoomedSegment> Take() {
    MutexLock lock(&mutex_);
    return std::exchange(doomed_, {});
  }

  // Blocks until something is doomed or the ledger is closed; false: closed.
  bool WaitForDoomed() {
    MutexLock lock(&mutex_);
    while (doomed_.empty() && !closed_) changed_.Wait(&mutex_);
    return !closed_;
  }

  // Blocks for `time` or until the ledger is closed.
  void Pause(std::chrono::milliseconds time) {
    MutexLock lock(&mutex_);
    if (!closed_) changed_.WaitFor(&mutex_, time);
  }

  // The store closes: what is let go of from now on stays on the disk.
  void Close() {
    MutexLock lock(&mutex_);
    closed_ = true;
    changed_.NotifyAll();
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<DoomedSegment> doomed_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_SEGMENT_LEDGER_H_
