// See disk_health.h.
#include "cache_store/disk_health.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "cache_store/retryable_file_system.h"

namespace longleaf::store::internal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPause{200};
// How long the first try is kept from beginning, for what fails at the same time on another thread.
constexpr std::chrono::milliseconds kHold{30};
constexpr std::chrono::seconds kLongestClose{2};

}  // namespace

bool DiskHealth::failing() {
  MutexLock lock(&mutex_);
  return failing_;
}

absl::Status DiskHealth::Check() {
  MutexLock lock(&mutex_);
  if (!failing_) return absl::OkStatus();
  return full_ ? absl::ResourceExhaustedError("the disk is full; the store waits for room")
               : absl::UnavailableError("the disk fails; the store tries again");
}

void DiskHealth::WaitUntil(Time time) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(time - Clock::now());
  if (left.count() > 0) changed_.WaitFor(&mutex_, left);
}

void DiskHealth::PauseBeforeTry() {
  MutexLock lock(&mutex_);
  // Closed during a try, RocksDB ends it; closed between two, it waits for ever. So an abandoned
  // one is held here most of the time.
  Time end = Clock::now() + (abandoned() ? kHold : kPause);
  while ((trying_ || abandoned()) && Clock::now() < end) {
    WaitUntil(end);
    if (abandoned()) end = std::min<Time>(end, Clock::now() + kHold);
  }
}

void DiskHealth::Abandon(std::function<void()> close) {
  {
    MutexLock lock(&mutex_);
    abandoned_.store(true, std::memory_order_release);
    changed_.NotifyAll();
  }
  Unlock();
  std::thread closing([self = shared_from_this(), close = std::move(close)]() mutable {
    close();
    close = nullptr;
    MutexLock lock(&self->mutex_);
    self->closed_ = true;
    self->changed_.NotifyAll();
  });
  // What waits inside RocksDB says nothing; then this is long enough for it to have come there.
  const Time patience = Clock::now() + kLongestClose;
  bool closed = false;
  {
    MutexLock lock(&mutex_);
    while (!closed_ && Clock::now() < patience) WaitUntil(patience);
    closed = closed_;
  }
  closed ? closing.join() : closing.detach();
}

void DiskHealth::SetUnlock(std::function<void()> unlock) {
  MutexLock lock(&mutex_);
  unlock_ = std::move(unlock);
}

void DiskHealth::Unlock() {
  std::function<void()> unlock;
  {
    MutexLock lock(&mutex_);
    unlock.swap(unlock_);
  }
  if (unlock) unlock();
}

void DiskHealth::Reset() {
  MutexLock lock(&mutex_);
  failing_ = full_ = trying_ = false;
}

void DiskHealth::OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* error) {
  // A compaction that failed is simply started again, and stops no writing.
  if (reason == rocksdb::BackgroundErrorReason::kCompaction && error->IsIOError()) return;
  const bool full = MeansNoSpace(error->ToString());
  MutexLock lock(&mutex_);
  const bool first = !failing_;
  full_ = full;
  failing_ = true;
  if (error->IsIOError()) trying_ = true;
  if (!first || abandoned()) return;
  // The first try begins when this returns. What fails at the same time on another thread, a change
  // of files, is first to have turned off file deletions (Database::ChangeFiles).
  const Time begin = Clock::now() + kHold;
  while (!abandoned() && Clock::now() < begin) WaitUntil(begin);
}

void DiskHealth::OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) {
  MutexLock lock(&mutex_);
  if (info.new_bg_error.ok()) failing_ = false;
  trying_ = false;
  changed_.NotifyAll();
}

}  // namespace longleaf::store::internal
