#include "service/answer_stream.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "service/ready_queue.h"

namespace longleaf::service {
namespace {

AnswerText Text(const std::string& text) { return {text, {}}; }

// A token with as many alternatives as a client can ask for.
AnswerText WithLogprobs(int32_t token) {
  AnswerText text = Text("x");
  TokenLogprobs& logprobs = text.logprobs.emplace_back();
  logprobs.chosen.token = token;
  logprobs.top.resize(20);
  return text;
}

std::string PopText(AnswerStream& stream) {
  const std::optional<AnswerEvent> event = stream.Pop();
  const auto* text = event.has_value() ? std::get_if<AnswerText>(&*event) : nullptr;
  return text != nullptr ? text->text : "no text";
}

TEST(AnswerStream, GivesEventsInOrderAndThenTheStatus) {
  AnswerStream stream;
  stream.Push(AnswerStarted());
  stream.Push(Text("a"));
  stream.Push(AnswerFinished());
  stream.Close(absl::OkStatus());
  EXPECT_FALSE(stream.Closed().has_value());  // not before everything is read
  EXPECT_TRUE(std::holds_alternative<AnswerStarted>(*stream.Pop()));
  EXPECT_EQ(PopText(stream), "a");
  EXPECT_TRUE(std::holds_alternative<AnswerFinished>(*stream.Pop()));
  EXPECT_FALSE(stream.Pop().has_value());
  EXPECT_TRUE(stream.Closed()->ok());
}

TEST(AnswerStream, TheFirstStatusCounts) {
  AnswerStream stream;
  stream.Close(absl::NotFoundError("gone"));
  stream.Close(absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(*stream.Closed()));
}

// The engine tells everybody of its progress, also whom it has just refused.
TEST(AnswerStream, NothingComesAfterTheEnd) {
  AnswerStream stream;
  stream.Close(absl::NotFoundError("gone"));
  stream.Push(Progress{.tokens_total = 2, .tokens_done = 1});
  EXPECT_FALSE(stream.Pop().has_value());
  EXPECT_TRUE(absl::IsNotFound(*stream.Closed()));
}

TEST(AnswerStream, IsFullAtItsCapacityAndSaysWhenThereIsRoom) {
  AnswerStream stream(3 * AnswerStream::kJoinedBytes);
  int rooms = 0;
  stream.OnRoom([&rooms] { ++rooms; });
  const std::string half(AnswerStream::kJoinedBytes / 2 + 1, 'a');  // two do not fit into one event
  int pushed = 0;
  for (; stream.HasRoom(); ++pushed) {
    stream.Push(Text(half));
    ASSERT_LT(pushed, 10);
  }
  EXPECT_GT(pushed, 4);
  stream.Pop();
  EXPECT_EQ(rooms, 1);
  EXPECT_TRUE(stream.HasRoom());
  stream.Pop();
  EXPECT_EQ(rooms, 1);  // it was not full
  for (int left = pushed - 2; left > 0; --left) {
    EXPECT_EQ(PopText(stream), half);
  }
  EXPECT_FALSE(stream.Pop().has_value());
}

// Whoever never reads holds no more than the capacity and one token.
TEST(AnswerStream, WhatWaitsIsBoundedAlsoWithLogprobs) {
  AnswerStream stream;
  int32_t tokens = 0;
  while (stream.HasRoom()) {
    stream.Push(WithLogprobs(tokens++));
    ASSERT_LT(tokens, 1000);
  }
  EXPECT_GT(tokens, 32);
  int32_t next = 0;
  while (const std::optional<AnswerEvent> event = stream.Pop()) {
    const auto& text = std::get<AnswerText>(*event);
    EXPECT_EQ(text.text.size(), text.logprobs.size());
    EXPECT_LE(text.logprobs.size(), 4u);  // of a kilobyte each
    for (const TokenLogprobs& token : text.logprobs) {
      EXPECT_EQ(token.chosen.token, next++);
      EXPECT_EQ(token.top.size(), 20u);
    }
  }
  EXPECT_EQ(next, tokens);
  EXPECT_TRUE(stream.HasRoom());
}

TEST(AnswerStream, UnreadTextIsJoinedUpToABound) {
  AnswerStream stream;
  for (int i = 0; i < 5000; ++i) {
    stream.Push(Text(std::to_string(i % 10)));
  }
  std::string first = PopText(stream);
  EXPECT_EQ(first.size(), static_cast<size_t>(AnswerStream::kJoinedBytes));
  first += PopText(stream);
  ASSERT_EQ(first.size(), 5000u);
  for (size_t i = 0; i < first.size(); ++i) {
    ASSERT_EQ(first[i], static_cast<char>('0' + i % 10)) << i;
  }
  EXPECT_FALSE(stream.Pop().has_value());
}

TEST(AnswerStream, OnlyTextIsJoinedAndOnlyToTextRightBeforeIt) {
  AnswerStream stream;
  stream.Push(Text("a"));
  stream.Push(Progress{.tokens_total = 2, .tokens_done = 1});
  stream.Push(Text("b"));
  stream.Push(Text("c"));
  stream.Push(AnswerFinished());
  EXPECT_EQ(PopText(stream), "a");
  EXPECT_TRUE(std::holds_alternative<Progress>(*stream.Pop()));
  EXPECT_EQ(PopText(stream), "bc");
  EXPECT_TRUE(std::holds_alternative<AnswerFinished>(*stream.Pop()));
}

TEST(AnswerStream, WakesOnceForWhatWaitsUnread) {
  AnswerStream stream;
  int calls = 0;
  stream.OnReady([&calls] { ++calls; });
  EXPECT_EQ(calls, 0);
  stream.Push(AnswerStarted());
  stream.Push(Text("a"));
  stream.Push(Text("b"));
  EXPECT_EQ(calls, 1);
  stream.Pop();
  stream.Push(Text("c"));  // "ab" still waits
  EXPECT_EQ(calls, 1);
  stream.Pop();
  stream.Push(Text("not missed"));  // it has not yet found that nothing is left
  EXPECT_EQ(calls, 1);
  while (stream.Pop().has_value()) {
  }
  EXPECT_EQ(calls, 1);
  stream.Push(Text("d"));
  EXPECT_EQ(calls, 2);
  stream.Close(absl::OkStatus());  // who reads "d" looks on
  EXPECT_EQ(calls, 2);
}

TEST(AnswerStream, WakesForTheEndWhenNothingIsUnread) {
  AnswerStream stream;
  int calls = 0;
  stream.OnReady([&calls] { ++calls; });
  stream.Close(absl::OkStatus());
  EXPECT_EQ(calls, 1);
  AnswerStream late;
  late.Push(Text("a"));
  late.OnReady([&calls] { ++calls; });  // what came before counts
  EXPECT_EQ(calls, 2);
}

TEST(AnswerStream, UnreadProgressIsReplaced) {
  AnswerStream stream(1000);
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
  AnswerStream stream(1000);
  std::string sent;
  std::thread producer([&stream, &sent] {
    for (int i = 0; i < 2000;) {
      if (stream.HasRoom()) {
        const std::string text = std::to_string(i++) + " ";
        sent += text;
        stream.Push(Text(text));
      } else {
        std::this_thread::yield();
      }
    }
    stream.Close(absl::OkStatus());
  });
  std::string read;
  while (!stream.Closed().has_value()) {
    while (const auto event = stream.Pop()) {
      read += std::get<AnswerText>(*event).text;
    }
    std::this_thread::yield();
  }
  producer.join();
  EXPECT_EQ(read, sent);
}

// As a call reads: it Pops when it was woken, until nothing is left. No event must stay behind.
TEST(AnswerStream, AReaderThatOnlyReadsWhenWokenMissesNothing) {
  constexpr int kEvents = 20'000;
  AnswerStream stream;
  ReadyQueue ready(1);
  std::atomic<int> wakes = 0;
  stream.OnReady([&ready, &wakes] {
    if (ready.Note(0)) {
      ++wakes;
    }
  });
  std::thread producer([&stream] {
    for (int i = 0; i < kEvents;) {
      if (stream.HasRoom()) {
        stream.Push(Text("x"));
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
    stream.Close(absl::OkStatus());
  });
  size_t read = 0;
  int seen = 0;
  bool closed = false;
  while (!closed) {
    if (wakes == seen) {
      std::this_thread::yield();
      continue;
    }
    ++seen;
    while (const std::optional<size_t> turn = ready.Take()) {
      if (const auto event = stream.Pop()) {
        ready.Note(*turn);
        read += std::get<AnswerText>(*event).text.size();
      } else if (stream.Closed().has_value()) {
        closed = true;
      }
    }
  }
  producer.join();
  EXPECT_EQ(read, static_cast<size_t>(kEvents));
}

TEST(ReadyQueue, ServesInTurnAndWakesWhenItWasEmpty) {
  ReadyQueue ready(3);
  EXPECT_FALSE(ready.Take().has_value());
  EXPECT_TRUE(ready.Note(2));
  EXPECT_FALSE(ready.Note(0));
  EXPECT_FALSE(ready.Note(2));  // waits already
  std::vector<size_t> turns;
  for (int i = 0; i < 6; ++i) {
    const std::optional<size_t> turn = ready.Take();
    ASSERT_TRUE(turn.has_value());
    turns.push_back(*turn);
    ready.Note(*turn);  // it has more
    if (i == 1) {
      ready.Note(1);
    }
  }
  EXPECT_EQ(turns, (std::vector<size_t>{2, 0, 2, 0, 1, 2}));
  while (ready.Take().has_value()) {
  }
  EXPECT_TRUE(ready.Note(1));
}

class KeptBackText : public ::testing::Test {
 protected:
  static constexpr AnswerStream::Clock::duration kAnHour = std::chrono::hours(1);

  KeptBackText() {
    stream_.OnReady([this] { ++woken_; });
  }
  // As the consumer does: until nothing is left. What was read of text.
  std::string Read() {
    std::string text;
    while (std::optional<AnswerEvent> event = stream_.Pop()) {
      if (const auto* piece = std::get_if<AnswerText>(&*event)) {
        text += piece->text;
      }
    }
    return text;
  }

  AnswerStream stream_{AnswerStream::kCapacityBytes, kAnHour};
  int woken_ = 0;
};

TEST_F(KeptBackText, TheFirstComesAtOnceTheNextWithinTheIntervalTogether) {
  stream_.Push(AnswerText{"a", {}});
  EXPECT_EQ(woken_, 1);
  EXPECT_EQ(Read(), "a");
  stream_.Push(AnswerText{"b", {}});
  stream_.Push(AnswerText{"c", {}});
  stream_.Flush(AnswerStream::Clock::now());
  EXPECT_EQ(woken_, 1);
  stream_.Flush(AnswerStream::Clock::now() + kAnHour);
  EXPECT_EQ(woken_, 2);
  EXPECT_EQ(Read(), "bc");
  stream_.Flush(AnswerStream::Clock::now() + kAnHour);
  EXPECT_EQ(woken_, 2) << "nothing to be told";
}

TEST_F(KeptBackText, AnotherEventTakesItAlong) {
  stream_.Push(AnswerText{"a", {}});
  EXPECT_EQ(Read(), "a");
  stream_.Push(AnswerText{"b", {}});
  stream_.Push(AnswerFinished{});
  EXPECT_EQ(woken_, 2);
  EXPECT_EQ(Read(), "b");
}

TEST_F(KeptBackText, SoDoesTheEnd) {
  stream_.Push(AnswerText{"a", {}});
  EXPECT_EQ(Read(), "a");
  stream_.Push(AnswerText{"b", {}});
  stream_.Close(absl::OkStatus());
  EXPECT_EQ(woken_, 2);
  EXPECT_EQ(Read(), "b");
  EXPECT_TRUE(stream_.Closed().has_value());
}

TEST_F(KeptBackText, MuchTextIsNotKept) {
  stream_.Push(AnswerText{"a", {}});
  EXPECT_EQ(Read(), "a");
  stream_.Push(AnswerText{std::string(AnswerStream::kJoinedBytes, 'b'), {}});
  EXPECT_EQ(woken_, 2);
}

}  // namespace
}  // namespace longleaf::service
