#include "service/answer_stream.h"

#include <gtest/gtest.h>

#include <thread>

namespace longleaf::service {
namespace {

AnswerText Text(const std::string& text) { return {text, {}}; }

TEST(AnswerStream, GivesEventsInOrderAndThenTheStatus) {
  AnswerStream stream(4);
  stream.Push(Text("a"));
  stream.Push(Text("b"));
  stream.Close(absl::OkStatus());
  EXPECT_FALSE(stream.Closed().has_value());  // not before everything is read
  EXPECT_EQ(std::get<AnswerText>(*stream.Pop()).text, "a");
  EXPECT_EQ(std::get<AnswerText>(*stream.Pop()).text, "b");
  EXPECT_FALSE(stream.Pop().has_value());
  EXPECT_TRUE(stream.Closed()->ok());
}

TEST(AnswerStream, TheFirstStatusCounts) {
  AnswerStream stream;
  stream.Close(absl::NotFoundError("gone"));
  stream.Close(absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(*stream.Closed()));
}

TEST(AnswerStream, IsFullAtItsCapacityAndSaysWhenThereIsRoom) {
  AnswerStream stream(2);
  int rooms = 0;
  stream.OnRoom([&rooms] { ++rooms; });
  stream.Push(Text("a"));
  EXPECT_TRUE(stream.HasRoom());
  stream.Push(Text("b"));
  EXPECT_FALSE(stream.HasRoom());
  stream.Pop();
  EXPECT_EQ(rooms, 1);
  EXPECT_TRUE(stream.HasRoom());
  stream.Pop();
  EXPECT_EQ(rooms, 1);  // it was not full
}

TEST(AnswerStream, UnreadProgressIsReplaced) {
  AnswerStream stream(4);
  for (int64_t done = 0; done < 1000; ++done) {
    stream.Push(Progress{.tokens_total = 1000, .tokens_done = done});
  }
  EXPECT_TRUE(stream.HasRoom());
  EXPECT_EQ(std::get<Progress>(*stream.Pop()).tokens_done, 999);
  EXPECT_FALSE(stream.Pop().has_value());
}

TEST(AnswerStream, ACancelSilencesItForGood) {
  AnswerStream stream;
  int calls = 0;
  stream.OnReady([&calls] { ++calls; });
  stream.Push(Text("a"));
  EXPECT_EQ(calls, 1);
  stream.Cancel();
  EXPECT_TRUE(stream.cancelled());
  stream.Push(Text("b"));
  stream.Close(absl::OkStatus());
  EXPECT_EQ(calls, 1);
  stream.OnReady([&calls] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(AnswerStream, AProducerAndAConsumerOnTwoThreads) {
  AnswerStream stream(8);
  std::thread producer([&stream] {
    for (int i = 0; i < 2000;) {
      if (stream.HasRoom()) {
        stream.Push(Text(std::to_string(i++)));
      } else {
        std::this_thread::yield();
      }
    }
    stream.Close(absl::OkStatus());
  });
  int next = 0;
  while (!stream.Closed().has_value()) {
    while (const auto event = stream.Pop()) {
      EXPECT_EQ(std::get<AnswerText>(*event).text, std::to_string(next++));
    }
    std::this_thread::yield();
  }
  producer.join();
  EXPECT_EQ(next, 2000);
}

}  // namespace
}  // namespace longleaf::service
