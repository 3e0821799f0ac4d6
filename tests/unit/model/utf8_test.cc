#include "model/utf8.h"

#include <gmock/gmock.h>

#include <vector>

namespace longleaf::model {
namespace {

TEST(Utf8Test, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c == 0xD800) c = 0xE000;
    std::string bytes;
    AppendUtf8(c, &bytes);
    const Utf8Char decoded = DecodeUtf8(bytes);
    ASSERT_EQ(decoded.state, Utf8Prefix::kComplete) << static_cast<uint32_t>(c);
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(decoded.size, bytes.size());
    for (size_t size = 1; size < bytes.size(); ++size) {
      ASSERT_EQ(DecodeUtf8(bytes.substr(0, size)).state, Utf8Prefix::kIncomplete);
    }
  }
}

TEST(Utf8Test, WhatIsNotACharacter) {
  const std::vector<std::string> bad = {
      "\x80",     "\xBF",         "\xC0\x80",         "\xC1\xBF",     "\xE0\x9F\xBF",
      "\xF5\x80", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80", "\xC3\x28",
      "\xFF",     "\xFE",         "\xE2\x28\xA1",     "\xE2\x82\x28"};
  for (const std::string& bytes : bad) {
    const Utf8Char decoded = DecodeUtf8(bytes);
    EXPECT_EQ(decoded.state, Utf8Prefix::kInvalid) << testing::PrintToString(bytes);
    EXPECT_EQ(decoded.size, 1u);
  }
}

TEST(Utf8ValidatorTest, OffsetsDoNotDependOnChunks) {
  const std::string good = "plain text, then é 漢 😀 and more than eight bytes of it";
  for (size_t chunk = 1; chunk <= good.size() + 3; ++chunk) {
    for (const bool broken : {false, true}) {
      const std::string text = good + (broken ? "\xE6\xBC!" : "");
      Utf8Validator validator(1000);
      absl::Status status;
      for (size_t at = 0; at < text.size() && status.ok(); at += chunk) {
        status = validator.Feed(std::string_view(text).substr(at, chunk));
      }
      if (broken) {
        const std::string wanted = "not UTF-8 at byte " + std::to_string(1000 + good.size());
        EXPECT_EQ(status.message(), wanted);
        EXPECT_EQ(validator.Feed("a").message(), wanted);
        EXPECT_EQ(validator.Finish().message(), wanted);
        EXPECT_EQ(validator.complete_bytes(), -1);
      } else {
        EXPECT_TRUE(status.ok() && validator.Finish().ok());
        EXPECT_EQ(validator.complete_bytes(), static_cast<int64_t>(1000 + good.size()));
      }
    }
  }
}

TEST(Utf8ValidatorTest, EndInsideACharacter) {
  Utf8Validator validator;
  ASSERT_TRUE(validator.Feed("ab\xF0\x9F\x98").ok());
  EXPECT_EQ(validator.complete_bytes(), 2);
  EXPECT_EQ(validator.Finish().message(), "not UTF-8 at byte 2");
  EXPECT_FALSE(IsValidUtf8("ab\xF0\x9F\x98"));
  EXPECT_TRUE(IsValidUtf8(""));
}

}  // namespace
}  // namespace longleaf::model
