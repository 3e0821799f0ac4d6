#include "model/incremental_decoder.h"

#include <gmock/gmock.h>

#include "tests/unit/model/tokenizer_fixture.h"

namespace longleaf::model {
namespace {

constexpr int32_t kByte0 = 3;  // id of <0x00>

class IncrementalDecoderTest : public testing::Test {
 protected:
  void SetUp() override {
    tokenizer_ = LoadTokenizer(kProse);
    ASSERT_NE(tokenizer_, nullptr);
    for (int32_t id = 0; id < tokenizer_->vocab_size(); ++id) {
      if (tokenizer_->PieceName(id) == "▁the") the_ = id;
    }
    ASSERT_GE(the_, 0);
  }

  std::vector<std::string> Deltas(const std::vector<int32_t>& ids, DecoderOptions options = {}) {
    IncrementalDecoder decoder(tokenizer_.get(), options);
    std::vector<std::string> deltas;
    for (const int32_t id : ids) deltas.push_back(decoder.Push(id));
    deltas.push_back(decoder.Flush());
    return deltas;
  }
  static int32_t Byte(int value) { return kByte0 + value; }

  std::unique_ptr<Tokenizer> tokenizer_;
  int32_t the_ = -1;
};

using testing::ElementsAre;

TEST_F(IncrementalDecoderTest, ALeadingSpaceBelongsToTheText) {
  EXPECT_THAT(Deltas({the_, the_}), ElementsAre(" the", " the", ""));
}

TEST_F(IncrementalDecoderTest, StripsExactlyOneLeadingSpace) {
  const DecoderOptions strip = {.strip_leading_space = true};
  EXPECT_THAT(Deltas({the_, the_}, strip), ElementsAre("the", " the", ""));
  EXPECT_THAT(Deltas({Byte(' '), the_}, strip), ElementsAre("", " the", ""));
  EXPECT_THAT(Deltas({Byte('x'), the_}, strip), ElementsAre("x", " the", ""));
  // Tokens without text do not count as the start.
  EXPECT_THAT(Deltas({1, 99999, the_}, strip), ElementsAre("", "", "the", ""));
}

TEST_F(IncrementalDecoderTest, HoldsTheBytesOfACharacter) {
  EXPECT_THAT(Deltas({Byte(0xE6), Byte(0xBC), Byte(0xA2), the_}),
              ElementsAre("", "", "漢", " the", ""));
}

TEST_F(IncrementalDecoderTest, ReplacesWhatCannotBecomeACharacter) {
  EXPECT_THAT(Deltas({Byte(0xE6), Byte(0xBC), the_}), ElementsAre("", "", "\uFFFD\uFFFD the", ""));
  EXPECT_THAT(Deltas({Byte(0xE6), Byte(0xBC)}), ElementsAre("", "", "\uFFFD\uFFFD"));
  EXPECT_THAT(Deltas({Byte(0xFF), Byte('a')}), ElementsAre("\uFFFD", "a", ""));
  // A new character begins where the old one breaks off.
  EXPECT_THAT(Deltas({Byte(0xE6), Byte(0xC3), Byte(0xA9)}), ElementsAre("", "\uFFFD", "é", ""));
  // Bytes on the two sides of a control token do not join.
  EXPECT_THAT(Deltas({Byte(0xC3), 2, Byte(0xA9)}), ElementsAre("", "\uFFFD", "\uFFFD", ""));
}

TEST_F(IncrementalDecoderTest, IdsWithoutText) {
  EXPECT_THAT(Deltas({1, 2, -1, kProsePieces, 1 << 30}), ElementsAre("", "", "", "", "", ""));
}

TEST_F(IncrementalDecoderTest, ReadyForAnotherTextAfterFlush) {
  IncrementalDecoder decoder(tokenizer_.get(), {.strip_leading_space = true});
  EXPECT_EQ(decoder.Push(the_) + decoder.Flush(), "the");
  EXPECT_EQ(decoder.Push(the_) + decoder.Flush(), "the");
}

TEST_F(IncrementalDecoderTest, EveryDeltaIsUtf8AndTogetherTheyAreDecode) {
  RandomText random({}, 21);
  for (int i = 0; i < 5000; ++i) {
    std::vector<int32_t> ids;
    for (uint32_t n = random.Below(20); n > 0; --n) {
      ids.push_back(static_cast<int32_t>(random.Below(3) == 0 ? random.Below(kProsePieces + 8)
                                                              : Byte(0x70) + random.Below(0x90)));
    }
    std::string all;
    for (const std::string& delta : Deltas(ids)) {
      ASSERT_TRUE(IsValidUtf8(delta));
      all += delta;
    }
    ASSERT_EQ(all, tokenizer_->Decode(ids));
    std::string stripped;
    for (const std::string& delta : Deltas(ids, {.strip_leading_space = true})) stripped += delta;
    ASSERT_EQ(stripped, all.substr(all.starts_with(' ') ? 1 : 0));
  }
}

// What was encoded comes back byte for byte.
TEST_F(IncrementalDecoderTest, RoundTrip) {
  RandomText texts({"the", " cat", "\n"}, 22);
  for (int i = 0; i < 1000; ++i) {
    const std::string text = texts.Next();
    if (text.find("\u2581") != text.npos) continue;  // reads as a space
    const auto ids = tokenizer_->EncodeIds(text, Start::kContinuation);
    ASSERT_TRUE(ids.ok());
    ASSERT_EQ(tokenizer_->Decode(*ids), text);
    const auto first = tokenizer_->EncodeIds(text, Start::kFirst);
    ASSERT_EQ(tokenizer_->Decode(*first), text.empty() ? "" : " " + text);
  }
}

}  // namespace
}  // namespace longleaf::model
