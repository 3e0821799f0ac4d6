// The one pool of threads behind the CPU backend. oneDNN is called from its workers with a single
// OpenMP thread each, so there is never a second pool beside it.
#ifndef LONGLEAF_KERNELS_CPU_THREAD_POOL_H_
#define LONGLEAF_KERNELS_CPU_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "kernels/mutex.h"

namespace longleaf::kernels {

// Not reentrant, and for one calling thread at a time.
class ThreadPool {
 public:
  // `threads` >= 1, the caller included: threads - 1 are started.
  explicit ThreadPool(int64_t threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int64_t threads() const { return static_cast<int64_t>(workers_.size()) + 1; }

  // Calls body(task, thread) once for each task in 0..tasks-1, thread in 0..threads()-1, on the
  // workers and the caller, and returns when all have ended. Tasks are handed out one by one.
  void ParallelFor(int64_t tasks, const std::function<void(int64_t task, int64_t thread)>& body);

 private:
  void Work(int64_t thread);

  Mutex mutex_;
  CondVar started_;
  CondVar finished_;
  const std::function<void(int64_t, int64_t)>* body_ ABSL_GUARDED_BY(mutex_) = nullptr;
  int64_t tasks_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t active_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  // generation_ and active_ for those who look without the lock; what they see is only a hint.
  std::atomic<int64_t> announced_{0};
  std::atomic<int64_t> working_{0};
  std::atomic<int64_t> next_{0};
  std::vector<std::thread> workers_;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_THREAD_POOL_H_
