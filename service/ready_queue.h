// Which of a call's streams have something to read, in the order of their turns.
#ifndef LONGLEAF_SERVICE_READY_QUEUE_H_
#define LONGLEAF_SERVICE_READY_QUEUE_H_

#include <cstddef>
#include <deque>
#include <optional>
#include <vector>

#include "kernels/mutex.h"

namespace longleaf::service {

// Thread-safe; calls nothing, so it may be used under any lock. A reader that takes a stream, reads
// one event of it and notes it again serves all streams in turn.
class ReadyQueue {
 public:
  explicit ReadyQueue(size_t streams) : waits_(streams, false) {}

  // The stream goes to the end of the queue, unless it waits in it already. True when it is the
  // only one now: time to wake whoever reads.
  bool Note(size_t stream) {
    MutexLock lock(&mutex_);
    if (waits_[stream]) {
      return false;
    }
    waits_[stream] = true;
    queue_.push_back(stream);
    return queue_.size() == 1;
  }

  // The stream whose turn it is; what is noted of it from now on is new.
  std::optional<size_t> Take() {
    MutexLock lock(&mutex_);
    if (queue_.empty()) {
      return std::nullopt;
    }
    const size_t stream = queue_.front();
    queue_.pop_front();
    waits_[stream] = false;
    return stream;
  }

 private:
  Mutex mutex_;
  std::deque<size_t> queue_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> waits_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_READY_QUEUE_H_
