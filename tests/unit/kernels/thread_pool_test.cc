// The pool: every task once, results visible to the caller, jobs one after another.
#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <vector>

#include "gtest/gtest.h"

namespace longleaf::kernels {
namespace {

TEST(ThreadPoolTest, RunsEveryTaskOnce) {
  for (int64_t threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<int> runs(static_cast<size_t>(tasks), 0);  // not atomic: one writer each
      pool.ParallelFor(tasks, [&](int64_t task, int64_t thread) {
        ASSERT_GE(thread, 0);
        ASSERT_LT(thread, threads);
        ++runs[static_cast<size_t>(task)];
      });
      for (int run : runs) EXPECT_EQ(run, 1);
    }
  }
}

// Many short jobs: workers that wake late must neither run a closed job nor miss a later one.
TEST(ThreadPoolTest, ShortJobsFollowEachOther) {
  ThreadPool pool(4);
  int64_t total = 0;
  for (int64_t job = 0; job < 5000; ++job) {
    std::atomic<int64_t> sum{0};
    pool.ParallelFor(job % 9, [&](int64_t task, int64_t) { sum += task + 1; });
    total += sum;
    const int64_t tasks = job % 9;
    ASSERT_EQ(sum, tasks * (tasks + 1) / 2);
  }
  EXPECT_GT(total, 0);
}

// Two threads really take part: each of two tasks waits for the other.
TEST(ThreadPoolTest, TasksRunTogether) {
  ThreadPool pool(2);
  std::atomic<int> started{0};
  pool.ParallelFor(2, [&](int64_t, int64_t) {
    ++started;
    while (started < 2) std::this_thread::yield();
  });
  EXPECT_EQ(started, 2);
}

}  // namespace
}  // namespace longleaf::kernels
