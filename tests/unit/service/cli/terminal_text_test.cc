#include "service/cli/terminal_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longleaf::service::cli {
namespace {

using ::testing::ElementsAre;

std::string EscapeAll(std::string_view text) {
  TerminalEscaper escaper;
  std::string out = escaper.Add(text);
  return out + escaper.Finish();
}

TEST(TerminalEscaper, PassesOrdinaryText) {
  const std::string text = "Grüße,\n\t日本 🐋\r\nend";
  EXPECT_EQ(EscapeAll(text), text);
}

TEST(TerminalEscaper, DisarmsControlCharacters) {
  EXPECT_EQ(EscapeAll("\x1b[2J\x1b]52;c;AA\x07"), "\\x1b[2J\\x1b]52;c;AA\\x07");
  EXPECT_EQ(EscapeAll(std::string_view("\0\x7f\b", 3)), "\\x00\\x7f\\x08");
  // A lone carriage return would overwrite the line; C1 CSI works like ESC [ in some terminals.
  EXPECT_EQ(EscapeAll("abc\rX"), "abc\\rX");
  EXPECT_EQ(EscapeAll("\u009b2J"), "\\u009b2J");
  // Right-to-left override, isolate, line separator.
  EXPECT_EQ(EscapeAll("a\u202eb\u2066c\u2028d"), "a\\u202eb\\u2066c\\u2028d");
}

TEST(TerminalEscaper, ShowsBytesThatAreNotUtf8) {
  EXPECT_EQ(EscapeAll("\xff\xc0\xaf"), "\\xff\\xc0\\xaf");
  EXPECT_EQ(EscapeAll("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(EscapeAll("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
  EXPECT_EQ(EscapeAll("\xe2\x82"), "\\xe2\\x82");                    // cut at the end
  EXPECT_EQ(EscapeAll("\xe2\x82x"), "\\xe2\\x82x");
  EXPECT_EQ(EscapeAll("end\r"), "end\\r");
}

TEST(TerminalEscaper, JoinsCharactersAcrossPieces) {
  const std::string text = "a🐋\r\nü\x1b\u202e\xff!";
  const std::string whole = EscapeAll(text);
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      TerminalEscaper escaper;
      std::string out = escaper.Add(text.substr(0, first));
      out += escaper.Add(text.substr(first, second - first));
      out += escaper.Add(text.substr(second));
      out += escaper.Finish();
      EXPECT_EQ(out, whole) << first << ", " << second;
    }
  }
}

TEST(EscapeLine, KeepsOneLine) {
  EXPECT_EQ(EscapeLine("a\nb\tc\r\n\x1b[0m ü"), "a\\nb\\tc\\r\\n\\x1b[0m ü");
}

TEST(IsValidUtf8, KnowsTheEdges) {
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_TRUE(IsValidUtf8("\u07ff\u0800\uffff\U00010000\U0010ffff"));
  EXPECT_FALSE(IsValidUtf8("\xe2\x82"));
  EXPECT_FALSE(IsValidUtf8("a\x80"));
  EXPECT_FALSE(IsValidUtf8("\xe0\x9f\xbf"));
  EXPECT_FALSE(IsValidUtf8("\xf0\x8f\xbf\xbf"));
}

TEST(WholeCharacters, StopsBeforeACutOne) {
  const std::string text = "aü日🐋";
  const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
  for (size_t n = 0; n <= text.size(); ++n) {
    EXPECT_EQ(WholeCharacters(text.substr(0, n)), expected[n]) << n;
  }
  EXPECT_EQ(WholeCharacters("\xff\xff"), 2u);  // never becomes a character: not held back
}

TEST(WrapWords, BreaksAtSpaces) {
  EXPECT_THAT(WrapWords("one  two\nthree incomprehensibilities x", 9),
              ElementsAre("one two", "three", "incomprehensibilities", "x"));
  EXPECT_THAT(WrapWords(" \n ", 9), ElementsAre());
}

}  // namespace
}  // namespace longleaf::service::cli
