// A std::mutex that clang's thread-safety analysis understands, and a lock per name.
//
// The store may include nothing else of ours, so it has its own. Not absl::Mutex: Debian's Abseil
// is not instrumented, and the thread sanitizer would report false races on everything it guards.
#ifndef LONGLEAF_CACHE_STORE_MUTEX_H_
#define LONGLEAF_CACHE_STORE_MUTEX_H_

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"

namespace longleaf::store {

class ABSL_LOCKABLE Mutex {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_->Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

// Waits may wake for no reason: callers loop over their condition.
class CondVar {
 public:
  void Wait(Mutex* mutex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  void WaitFor(Mutex* mutex, std::chrono::milliseconds time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    condition_.wait_for(lock, time);
    lock.release();
  }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

// One lock for every name, of which only the held ones exist. Holding one for long (a gigabyte
// being hashed) delays nobody but those who want the same name.
class NameLocks {
 public:
  class Hold {
   public:
    Hold(NameLocks* locks, std::pair<std::string, std::string> name)
        : locks_(locks), name_(std::move(name)) {
      locks_->Acquire(name_);
    }
    ~Hold() { locks_->Release(name_); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    NameLocks* const locks_;
    const std::pair<std::string, std::string> name_;
  };

 private:
  void Acquire(const std::pair<std::string, std::string>& name) {
    MutexLock lock(&mutex_);
    while (!held_.insert(name).second) released_.Wait(&mutex_);
  }
  void Release(const std::pair<std::string, std::string>& name) {
    MutexLock lock(&mutex_);
    held_.erase(name);
    released_.NotifyAll();
  }

  Mutex mutex_;
  CondVar released_;
  std::set<std::pair<std::string, std::string>> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longleaf::store

#endif  // LONGLEAF_CACHE_STORE_MUTEX_H_
