#include "service/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace longleaf::service {
namespace {

TEST(ExecutorTest, RunsInOrderAndAllBeforeItGoes) {
  std::vector<int> order;
  {
    Executor executor(1);
    for (int i = 0; i < 100; ++i) {
      executor.Run([&order, i] { order.push_back(i); });
    }
  }
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(order[static_cast<size_t>(i)], i);
  }
}

TEST(ExecutorTest, TheDoorClosesWhenTooManyWait) {
  std::promise<void> started;
  std::promise<void> go_on;
  std::atomic<int> ran{0};
  {
    Executor executor(1);
    executor.Run([&] {
      started.set_value();
      go_on.get_future().wait();
    });
    started.get_future().wait();  // it does not wait any more
    EXPECT_FALSE(executor.RunIfRoom([&ran] { ++ran; }, 0));
    EXPECT_TRUE(executor.RunIfRoom([&ran] { ++ran; }, 2));
    EXPECT_TRUE(executor.RunIfRoom([&ran] { ++ran; }, 2));
    EXPECT_FALSE(executor.RunIfRoom([&ran] { ++ran; }, 2));
    executor.Run([&ran] { ++ran; });  // an operation's next task always comes in
    EXPECT_EQ(executor.queued(), 3);
    go_on.set_value();
  }
  EXPECT_EQ(ran, 3);
}

}  // namespace
}  // namespace longleaf::service
