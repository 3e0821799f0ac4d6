// Whether the disk takes writes, as RocksDB finds out: it stops writing when a write fails, and
// tries again behind until one succeeds.
#ifndef LONGLEAF_CACHE_STORE_DISK_HEALTH_H_
#define LONGLEAF_CACHE_STORE_DISK_HEALTH_H_

#include <rocksdb/listener.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "cache_store/mutex.h"

namespace longleaf::store::internal {

// Thread-safe. RocksDB holds it as long as it likes.
class DiskHealth : public rocksdb::EventListener, public std::enable_shared_from_this<DiskHealth> {
 public:
  bool failing();
  // Not OK, saying which, while the disk is full or fails.
  absl::Status Check();

  // Every try begins by creating a file, and waits here before: the pause between two tries.
  void PauseBeforeTry();

  // RocksDB 7.8, closed while it tries, can wait for ever. A database whose disk fails is therefore
  // abandoned, which leaves the disk as a crash would: from now on nothing of it reaches the disk,
  // and its lock is given up. `close` closes it, on a thread of its own. Returns when it is closed,
  // or waits for ever, where it disturbs nobody.
  void Abandon(std::function<void()> close);
  bool abandoned() const { return abandoned_.load(std::memory_order_acquire); }
  // How to give up the lock on the directory, and doing so, once.
  void SetUnlock(std::function<void()> unlock);
  void Unlock();

  // Before the database is opened again.
  void Reset();

  // Called by RocksDB.
  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) override;
  void OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) override;

 private:
  using Time = std::chrono::steady_clock::time_point;
  void WaitUntil(Time time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // or until something changes

  Mutex mutex_;
  CondVar changed_;
  bool failing_ ABSL_GUARDED_BY(mutex_) = false;
  bool full_ ABSL_GUARDED_BY(mutex_) = false;    // what the last failure was
  bool trying_ ABSL_GUARDED_BY(mutex_) = false;  // until RocksDB says that it has ended
  std::function<void()> unlock_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> abandoned_{false};
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_DISK_HEALTH_H_
