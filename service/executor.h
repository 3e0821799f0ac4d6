// Threads for work that may block (the disk, tokenising), so that neither gRPC's reactors nor the
// engine's steps wait for it.
#ifndef LONGLEAF_SERVICE_EXECUTOR_H_
#define LONGLEAF_SERVICE_EXECUTOR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "kernels/mutex.h"

namespace longleaf::service {

// Thread-safe. Tasks start in order of submission. The queue is as long as what its users have in
// flight: every caller submits the next task of an operation only when the last has ended, and
// operations are bounded at admission (open calls, documents in the engine).
class Executor {
 public:
  explicit Executor(int threads);
  // Runs what is queued, then joins.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  void Run(std::function<void()> task);
  // The door for the first task of an operation: false, and nothing is done, when `most_waiting`
  // tasks wait already.
  bool RunIfRoom(std::function<void()> task, int64_t most_waiting);
  int64_t queued() const;

 private:
  void Work();

  mutable Mutex mutex_;
  CondVar wake_;
  std::deque<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_EXECUTOR_H_
