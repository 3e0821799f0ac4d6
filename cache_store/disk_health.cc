// See disk_health.h.
#include "cache_store/disk_health.h"

#include "cache_store/retryable_file_system.h"

namespace longleaf::store::internal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPause{200};
// How long a try is kept from beginning or going on: from PrepareToClose until RocksDB has taken
// note of the closing: a few instructions, and the luck of being scheduled.
constexpr std::chrono::milliseconds kHold{30};
// Only a disk that does not answer makes a try longer, and then closing waits for the disk anyhow.
constexpr std::chrono::seconds kLongestTry{1};

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
  if (!trying_) return;
  ++paused_;
  changed_.NotifyAll();
  const Time next_try = Clock::now() + kPause;
  while (!closing_ && Clock::now() < next_try) WaitUntil(next_try);
  if (closing_) {
    const Time begun = Clock::now() + kHold;
    while (Clock::now() < begun) WaitUntil(begun);
  }
  --paused_;
}

void DiskHealth::PrepareToClose() {
  const Time deadline = Clock::now() + kLongestTry;
  MutexLock lock(&mutex_);
  closing_ = true;
  changed_.NotifyAll();
  while (trying_ && paused_ == 0 && Clock::now() < deadline) WaitUntil(deadline);
}

void DiskHealth::Reset() {
  MutexLock lock(&mutex_);
  failing_ = full_ = trying_ = closing_ = false;
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
  if (!first || closing_) return;
  // The first try begins when this returns. What fails at the same time on another thread, a change
  // of files, is first to have turned off file deletions (Database::ChangeFiles).
  const Time begin = Clock::now() + kHold;
  while (!closing_ && Clock::now() < begin) WaitUntil(begin);
}

void DiskHealth::OnErrorRecoveryEnd(const rocksdb::BackgroundErrorRecoveryInfo& info) {
  MutexLock lock(&mutex_);
  if (info.new_bg_error.ok()) failing_ = false;
  trying_ = false;
  changed_.NotifyAll();
}

}  // namespace longleaf::store::internal
