// The pool: a job is announced by its number, workers that wake in time join it, the caller takes
// part and then closes it. A worker that wakes late finds the job closed and costs nobody a wait.
//
// A step of one row is some two hundred jobs of a few dozen microseconds each. Waking a thread
// takes as long as such a job, so whoever waits looks around for a while before going to sleep.
#include "kernels/cpu/thread_pool.h"

namespace longleaf::kernels {
namespace {

// Looks before sleeping: some 30 microseconds, longer than what lies between two jobs of a step.
constexpr int kLooks = 1000;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <typename Condition>
void LookFor(const Condition& condition) {
  for (int look = 0; look < kLooks && !condition(); ++look) Pause();
}

}  // namespace

ThreadPool::ThreadPool(int64_t threads) {
  for (int64_t thread = 1; thread < threads; ++thread) {
    workers_.emplace_back([this, thread] { Work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  started_.NotifyAll();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::ParallelFor(int64_t tasks,
                             const std::function<void(int64_t task, int64_t thread)>& body) {
  if (tasks <= 1 || workers_.empty()) {
    for (int64_t task = 0; task < tasks; ++task) body(task, 0);
    return;
  }
  {
    MutexLock lock(&mutex_);
    body_ = &body;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    ++generation_;
    announced_.store(generation_, std::memory_order_relaxed);
  }
  started_.NotifyAll();
  for (int64_t task = next_.fetch_add(1); task < tasks; task = next_.fetch_add(1)) body(task, 0);
  {
    MutexLock lock(&mutex_);
    body_ = nullptr;  // closed: nobody joins any more
    if (active_ == 0) return;
  }
  LookFor([this] { return working_.load(std::memory_order_relaxed) == 0; });
  MutexLock lock(&mutex_);
  while (active_ > 0) finished_.Wait(&mutex_);
}

void ThreadPool::Work(int64_t thread) {
  int64_t seen = 0;
  while (true) {
    const std::function<void(int64_t, int64_t)>* body = nullptr;
    int64_t tasks = 0;
    LookFor([this, seen] { return announced_.load(std::memory_order_relaxed) != seen; });
    {
      MutexLock lock(&mutex_);
      while (!stopping_ && (generation_ == seen || body_ == nullptr)) started_.Wait(&mutex_);
      if (stopping_) return;
      seen = generation_;
      body = body_;
      tasks = tasks_;
      working_.store(++active_, std::memory_order_relaxed);
    }
    for (int64_t task = next_.fetch_add(1); task < tasks; task = next_.fetch_add(1)) {
      (*body)(task, thread);
    }
    bool last = false;
    {
      MutexLock lock(&mutex_);
      last = --active_ == 0;
      working_.store(active_, std::memory_order_relaxed);
    }
    if (last) finished_.NotifyOne();
  }
}

}  // namespace longleaf::kernels
