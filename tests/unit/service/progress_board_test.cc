#include "service/progress_board.h"

#include <gtest/gtest.h>

#include <thread>

namespace longleaf::service {
namespace {

const store::DocumentName kA = {"t", "a"};
const store::DocumentName kB = {"t", "b"};

TEST(ProgressBoard, TellsThoseWhoWatchThatDocument) {
  ProgressBoard board;
  int a = 0;
  int b = 0;
  auto watch_a = board.Subscribe(kA, [&a] { ++a; });
  auto watch_b = board.Subscribe(kB, [&b] { ++b; });
  board.Post(kA, {.progress = {.tokens_total = 10, .tokens_done = 4}});
  EXPECT_EQ(a, 1);
  EXPECT_EQ(b, 0);
  EXPECT_EQ(board.Find(kA)->progress.tokens_done, 4);
  EXPECT_FALSE(board.Find(kB).has_value());
  board.Remove(kA);
  EXPECT_EQ(a, 2);
  EXPECT_FALSE(board.Find(kA).has_value());
}

TEST(ProgressBoard, NobodyIsToldAfterTheSubscriptionEnds) {
  ProgressBoard board;
  int calls = 0;
  {
    auto watch = board.Subscribe(kA, [&calls] { ++calls; });
  }
  board.Post(kA, {});
  EXPECT_EQ(calls, 0);
}

TEST(ProgressBoard, SubscribersComeAndGoWhileOthersPost) {
  ProgressBoard board;
  std::thread poster([&board] {
    for (int64_t i = 0; i < 2000; ++i) {
      board.Post(kA, {.progress = {.tokens_done = i}});
    }
  });
  int64_t told = 0;
  for (int i = 0; i < 500; ++i) {
    // `told` lives shorter than the board: a call after the end would be a race.
    auto watch = board.Subscribe(kA, [&told] { ++told; });
    std::this_thread::yield();
  }
  poster.join();
  EXPECT_EQ(board.Find(kA)->progress.tokens_done, 1999);
}

}  // namespace
}  // namespace longleaf::service
