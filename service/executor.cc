#include "service/executor.h"

#include <utility>

namespace longleaf::service {

Executor::Executor(int threads) {
  threads_.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { Work(); });
  }
}

Executor::~Executor() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

void Executor::Run(std::function<void()> task) {
  {
    MutexLock lock(&mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.NotifyOne();
}

bool Executor::RunIfRoom(std::function<void()> task, int64_t most_waiting) {
  {
    MutexLock lock(&mutex_);
    if (static_cast<int64_t>(tasks_.size()) >= most_waiting) {
      return false;
    }
    tasks_.push_back(std::move(task));
  }
  wake_.NotifyOne();
  return true;
}

int64_t Executor::queued() const {
  MutexLock lock(&mutex_);
  return static_cast<int64_t>(tasks_.size());
}

void Executor::Work() {
  for (;;) {
    std::function<void()> task;
    {
      MutexLock lock(&mutex_);
      while (tasks_.empty() && !stopping_) {
        wake_.Wait(&mutex_);
      }
      if (tasks_.empty()) {
        return;
      }
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace longleaf::service
