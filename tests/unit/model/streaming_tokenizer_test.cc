// The tokens of a stream: the same however it is cut, resumable, bounded, and as if encoded whole.
#include "model/streaming_tokenizer.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "model/sentencepiece_model.h"
#include "tests/unit/model/sentencepiece_reference.h"
#include "tests/unit/model/tokenizer_fixture.h"

namespace longleaf::model {
namespace {

class StreamingTest : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override {
    tokenizer_ = LoadTokenizer(GetParam().path);
    ASSERT_NE(tokenizer_, nullptr);
    library_ = SentencePieceReference::Load(ReadSourceFile(GetParam().path), true);
    ASSERT_NE(library_, nullptr);
  }

  std::vector<Token> Whole(const std::string& text, Start start) {
    auto tokens = tokenizer_->Encode(text, start);
    EXPECT_TRUE(tokens.ok()) << tokens.status();
    return tokens.ok() ? *tokens : std::vector<Token>();
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<SentencePieceReference> library_;
};

TEST_P(StreamingTest, ChunksDoNotMatter) {
  RandomText texts(library_->TextPieces(), 11);
  for (int i = 0; i < 600; ++i) {
    std::string text = texts.Next() + texts.Next() + texts.Next();
    const Start start = i % 2 == 0 ? Start::kFirst : Start::kContinuation;
    const std::vector<Token> whole = Whole(text, start);
    for (const uint32_t most : {1u, 2u, 7u, 100u}) {
      std::vector<Token> tokens;
      StreamingTokenizer stream(tokenizer_.get(), start);
      for (size_t at = 0; at < text.size();) {
        const size_t size = std::min<size_t>(1 + texts.Below(most), text.size() - at);
        ASSERT_TRUE(stream.Feed(std::string_view(text).substr(at, size), &tokens).ok());
        at += size;
      }
      ASSERT_TRUE(stream.Finish(&tokens).ok());
      ASSERT_EQ(tokens == whole, true) << testing::PrintToString(text) << " by " << most;
      ASSERT_EQ(stream.split_point(), static_cast<int64_t>(text.size()));
    }
  }
}

// At every split point that the stream passes through, a new stream goes on as the old one would.
TEST_P(StreamingTest, ResumesAtEverySplitPoint) {
  RandomText texts(library_->TextPieces(), 12);
  int resumed = 0;
  for (int i = 0; i < 150; ++i) {
    const std::string text = texts.Next() + texts.Next();
    const std::vector<Token> whole = Whole(text, Start::kFirst);
    std::vector<Token> before;
    StreamingTokenizer stream(tokenizer_.get(), Start::kFirst);
    int64_t last = 0;
    for (const char byte : text) {
      ASSERT_TRUE(stream.Feed({&byte, 1}, &before).ok());
      const int64_t split = stream.split_point();
      ASSERT_GE(split, last);
      if (split == last) continue;
      last = split;
      ++resumed;
      std::vector<Token> tokens = before;
      StreamingTokenizer rest(tokenizer_.get(), Start::kContinuation, split);
      ASSERT_TRUE(rest.Feed(std::string_view(text).substr(size_t(split)), &tokens).ok());
      ASSERT_TRUE(rest.Finish(&tokens).ok());
      ASSERT_EQ(tokens == whole, true) << testing::PrintToString(text) << " at " << split;
    }
  }
  EXPECT_GT(resumed, 300);
}

TEST_P(StreamingTest, ALongDocumentGivesTheLibrarysTokens) {
  const std::string text = ReadSourceFile("model/demo/document.txt").substr(0, 30000);
  std::vector<int32_t> ids;
  for (const Token& token : Whole(text, Start::kFirst)) ids.push_back(token.id);
  std::vector<int32_t> wanted;
  for (const auto& [id, end] : library_->Encode(text)) wanted.push_back(id);
  EXPECT_EQ(ids, wanted);
}

// A run in which every neighbour pair is in some piece has no safe place; memory stays bounded and
// the cuts are where they are whatever the chunks.
TEST_P(StreamingTest, TextWithoutASafePlaceIsCutAllTheSame) {
  const std::string text(200000, '=');
  std::vector<Token> tokens;
  StreamingTokenizer stream(tokenizer_.get(), Start::kFirst);
  int64_t behind = 0;
  for (size_t at = 0; at < text.size(); at += 1000) {
    ASSERT_TRUE(stream.Feed(std::string_view(text).substr(at, 1000), &tokens).ok());
    behind = std::max(behind, static_cast<int64_t>(at) + 1000 - stream.split_point());
  }
  ASSERT_TRUE(stream.Finish(&tokens).ok());
  EXPECT_LE(behind, static_cast<int64_t>(StreamingTokenizer::kMaxSegmentBytes) + 1000);
  EXPECT_EQ(tokens == Whole(text, Start::kFirst), true);
  EXPECT_EQ(tokens.back().end_byte, 200000);
}

INSTANTIATE_TEST_SUITE_P(Models, StreamingTest, testing::ValuesIn(kModels), CaseName);

TEST(StreamingTokenizerTest, SaysWhereTheTextStopsBeingUtf8) {
  const auto tokenizer = LoadTokenizer(kProse);
  for (size_t chunk = 1; chunk < 8; ++chunk) {
    const std::string text = "héllo \xE2\x82 world";  // a character cut short at byte 7
    StreamingTokenizer stream(tokenizer.get(), Start::kFirst, 100);
    std::vector<Token> tokens;
    absl::Status status;
    for (size_t at = 0; at < text.size() && status.ok(); at += chunk) {
      status = stream.Feed(std::string_view(text).substr(at, chunk), &tokens);
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), "not UTF-8 at byte 107");
    EXPECT_EQ(stream.Feed("x", &tokens).message(), status.message());
    EXPECT_EQ(stream.Finish(&tokens).message(), status.message());
  }
  StreamingTokenizer stream(tokenizer.get(), Start::kFirst);
  std::vector<Token> tokens;
  ASSERT_TRUE(stream.Feed("ab\xF0\x9F", &tokens).ok());
  EXPECT_EQ(stream.Finish(&tokens).message(), "not UTF-8 at byte 2");
}

TEST(StreamingTokenizerTest, GivesTokensOutAsItGoes) {
  const auto tokenizer = LoadTokenizer(kProse);
  StreamingTokenizer stream(tokenizer.get(), Start::kFirst);
  std::vector<Token> tokens;
  ASSERT_TRUE(stream.Feed("the cat and the ", &tokens).ok());
  EXPECT_GE(stream.split_point(), 11);
  EXPECT_EQ(tokens.back().end_byte, stream.split_point());
}

}  // namespace
}  // namespace longleaf::model
