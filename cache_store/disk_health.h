// Whether the disk takes writes, as RocksDB finds out: it stops writing when a write fails, and
// tries again behind until one succeeds.
#ifndef LONGLEAF_CACHE_STORE_DISK_HEALTH_H_
#define LONGLEAF_CACHE_STORE_DISK_HEALTH_H_

#include <rocksdb/listener.h>

#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "cache_store/mutex.h"

namespace longleaf::store::internal {

// Thread-safe. RocksDB holds it as long as it likes.
class DiskHealth : public rocksdb::EventListener {
 public:
  bool failing();
  // Not OK, saying which, while the disk is full or fails.
  absl::Status Check();

  // Every try begins by creating a file, and waits here before: the pause between two tries. It is
  // not made where RocksDB means it (bgerror_resume_retry_interval), because version 7.8, closed
  // during that, waits for ever. Closed during a try, it ends the try.
  void PauseBeforeTry();
  // Right before the database is closed: returns when no try is going on, or when one waits above,
  // where it is held long enough for the closing to have begun.
  void PrepareToClose();
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
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t paused_ ABSL_GUARDED_BY(mutex_) = 0;  // threads in PauseBeforeTry
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_DISK_HEALTH_H_
