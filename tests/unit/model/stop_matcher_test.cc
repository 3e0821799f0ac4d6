#include "model/stop_matcher.h"

#include <gmock/gmock.h>

#include <random>

#include "model/utf8.h"

namespace longleaf::model {
namespace {

StopMatcher Make(std::vector<std::string> stops) {
  auto matcher = StopMatcher::Create(std::move(stops));
  EXPECT_TRUE(matcher.ok()) << matcher.status();
  return *std::move(matcher);
}

TEST(StopMatcherTest, WithoutStopsEverythingPasses) {
  StopMatcher matcher = Make({});
  EXPECT_EQ(matcher.Push("abc"), "abc");
  EXPECT_EQ(matcher.Flush(), "");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcherTest, HoldsBackWhatCouldBeginAStop) {
  StopMatcher matcher = Make({"\nQuestion:"});
  EXPECT_EQ(matcher.Push("Paris.\n"), "Paris.");
  EXPECT_EQ(matcher.Push("Quest"), "");
  EXPECT_EQ(matcher.Push("s"), "\nQuests");
  EXPECT_EQ(matcher.Push(" x\nQuestion"), " x");
  EXPECT_EQ(matcher.Push(": more"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.matched(), 0);
  EXPECT_EQ(matcher.Push("never"), "");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcherTest, FlushGivesOutWhatWasHeld) {
  StopMatcher matcher = Make({"END"});
  EXPECT_EQ(matcher.Push("the EN"), "the ");
  EXPECT_EQ(matcher.Flush(), "EN");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcherTest, TheOneCompleteFirstWins) {
  StopMatcher matcher = Make({"abcX", "bc"});
  EXPECT_EQ(matcher.Push("zabcX"), "za");
  EXPECT_EQ(matcher.matched(), 1);
  StopMatcher longest = Make({"c", "abc", "bc"});
  EXPECT_EQ(longest.Push("zabc"), "z");
  EXPECT_EQ(longest.matched(), 1);
}

TEST(StopMatcherTest, OverlapsOfAStopWithItself) {
  StopMatcher matcher = Make({"aab"});
  EXPECT_EQ(matcher.Push("aaaa"), "aa");
  EXPECT_EQ(matcher.Push("b"), "");
  EXPECT_TRUE(matcher.stopped());
}

TEST(StopMatcherTest, RefusesBadStops) {
  EXPECT_FALSE(StopMatcher::Create({""}).ok());
  EXPECT_FALSE(StopMatcher::Create({"a", "\xFF"}).ok());
  EXPECT_FALSE(StopMatcher::Create({std::string(257, 'x')}).ok());
  EXPECT_FALSE(StopMatcher::Create(std::vector<std::string>(StopMatcher::kMaxStops + 1, "x")).ok());
  EXPECT_TRUE(StopMatcher::Create(std::vector<std::string>(16, std::string(256, 'x'))).ok());
}

// Against the definition, over random texts of few letters, cut at random.
TEST(StopMatcherTest, DeltasDoNotMatter) {
  std::mt19937 random(7);
  const auto word = [&](size_t size) {
    std::string out;
    while (out.size() < size) out += "ab"[random() % 2];
    return out;
  };
  for (int i = 0; i < 5000; ++i) {
    std::vector<std::string> stops;
    for (size_t n = 1 + random() % 3; n > 0; --n) stops.push_back(word(1 + random() % 5));
    const std::string text = word(random() % 30);
    std::string wanted = text;
    bool stops_there = false;
    for (size_t end = 1; end <= text.size() && !stops_there; ++end) {
      for (const std::string& stop : stops) {
        if (!std::string_view(text).substr(0, end).ends_with(stop)) continue;
        stops_there = true;
        wanted = std::min(wanted, text.substr(0, end - stop.size()),
                          [](const auto& a, const auto& b) { return a.size() < b.size(); });
      }
    }
    StopMatcher matcher = Make(stops);
    std::string shown;
    for (size_t at = 0; at < text.size();) {
      const size_t size = 1 + random() % 4;
      shown += matcher.Push(std::string_view(text).substr(at, size));
      ASSERT_TRUE(wanted.starts_with(shown));
      at += size;
    }
    shown += matcher.Flush();
    ASSERT_EQ(shown, wanted) << text;
    ASSERT_EQ(matcher.stopped(), stops_there);
  }
}

TEST(StopMatcherTest, NeverCutsACharacter) {
  StopMatcher matcher = Make({"é!", "漢字"});
  for (const char* delta : {"caf", "é", "è", "漢", "é", "漢漢", "字"}) {
    EXPECT_TRUE(IsValidUtf8(matcher.Push(delta)));
  }
  EXPECT_TRUE(matcher.stopped());
}

}  // namespace
}  // namespace longleaf::model
