#include "model/prompt.h"

#include <gmock/gmock.h>

#include "tests/unit/model/tokenizer_fixture.h"

namespace longleaf::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string WhyRefused(const std::string& json) {
  const auto file = PromptFile::Parse(json, "dir/prompt.json");
  if (file.ok()) return "";
  EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("dir/prompt.json: "));
  return std::string(file.status().message());
}

TEST(PromptFileTest, Defaults) {
  const auto missing = PromptFile::Load("/nonexistent");
  const auto minimal = PromptFile::Parse(R"({"version": 1})", "p");
  for (const auto* file : {&missing, &minimal}) {
    ASSERT_TRUE(file->ok()) << file->status();
    EXPECT_EQ((*file)->preamble, "");
    EXPECT_EQ((*file)->question_prefix, "\n\nQuestion: ");
    EXPECT_EQ((*file)->question_suffix, "\nAnswer:");
    EXPECT_THAT((*file)->stop, ElementsAre("\nQuestion:"));
    EXPECT_EQ((*file)->max_answer_tokens, 256);
    EXPECT_TRUE((*file)->strip_leading_space);
  }
}

TEST(PromptFileTest, ReadsEveryKey) {
  const auto file = PromptFile::Parse(
      R"({"version": 1, "preamble": "Read.\n", "question_prefix": "Q:", "question_suffix": "A:",
          "stop": ["\n", "Q:"], "max_answer_tokens": 7, "strip_leading_space": false})",
      "p");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->preamble, "Read.\n");
  EXPECT_EQ(file->question_prefix, "Q:");
  EXPECT_EQ(file->question_suffix, "A:");
  EXPECT_THAT(file->stop, ElementsAre("\n", "Q:"));
  EXPECT_EQ(file->max_answer_tokens, 7);
  EXPECT_FALSE(file->strip_leading_space);
}

TEST(PromptFileTest, SaysWhatIsWrong) {
  EXPECT_THAT(WhyRefused(""), HasSubstr("not a JSON object"));
  EXPECT_THAT(WhyRefused("[1]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(WhyRefused("{\"version\": 1,"), HasSubstr("not a JSON object"));
  EXPECT_THAT(WhyRefused("{}"), HasSubstr("\"version\" is missing"));
  EXPECT_THAT(WhyRefused(R"({"version": 2})"), HasSubstr("\"version\" must be 1"));
  EXPECT_THAT(WhyRefused(R"({"version": "1"})"), HasSubstr("\"version\" must be 1"));
  EXPECT_THAT(WhyRefused(R"({"version": 1, "preambel": ""})"),
              HasSubstr("unknown key \"preambel\""));
  EXPECT_THAT(WhyRefused(R"({"version": 1, "stop": [], "stop": []})"),
              HasSubstr("repeated key \"stop\""));
  EXPECT_THAT(WhyRefused(R"({"version": 1, "preamble": 5})"), HasSubstr("\"preamble\" must be"));
  EXPECT_THAT(WhyRefused(R"({"version": 1, "stop": "x"})"), HasSubstr("\"stop\" must be"));
  EXPECT_THAT(WhyRefused(R"({"version": 1, "stop": [1]})"), HasSubstr("\"stop\" must be"));
  EXPECT_THAT(WhyRefused(R"({"version": 1, "stop": ["a", ""]})"),
              HasSubstr("\"stop\": stop string 1 is empty"));
  for (const char* bad : {"0", "-1", "1.5", "\"9\"", "1048577", "18446744073709551615", "1e3"}) {
    EXPECT_THAT(WhyRefused(R"({"version": 1, "max_answer_tokens": )" + std::string(bad) + "}"),
                HasSubstr("\"max_answer_tokens\" must be"))
        << bad;
  }
  EXPECT_THAT(WhyRefused(R"({"version": 1, "strip_leading_space": 1})"),
              HasSubstr("\"strip_leading_space\" must be"));
  EXPECT_THAT(WhyRefused("{\"version\": 1, \"preamble\": \"\xFF\"}"), HasSubstr("not a JSON"));
  EXPECT_THAT(WhyRefused(std::string(300 << 10, ' ')), HasSubstr("more than"));
  EXPECT_THAT(WhyRefused(std::string(200000, '[')), HasSubstr("not a JSON object"));
}

class PromptTest : public testing::Test {
 protected:
  void SetUp() override {
    tokenizer_ = LoadTokenizer(kProse);
    ASSERT_NE(tokenizer_, nullptr);
  }
  Prompt Make(const PromptFile& file) {
    auto prompt = Prompt::Create(file, tokenizer_.get());
    EXPECT_TRUE(prompt.ok()) << prompt.status();
    return *std::move(prompt);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(PromptTest, OnlyTheFirstTextHasTheDummySpace) {
  const Prompt bare = Make({});
  EXPECT_THAT(bare.prefix_ids(), ElementsAre(1));
  EXPECT_EQ(bare.document_start(), Start::kFirst);
  PromptFile file;
  file.preamble = "the";
  const Prompt prompt = Make(file);
  EXPECT_EQ(prompt.prefix_ids().size(), 2u);
  EXPECT_EQ(tokenizer_->PieceName(prompt.prefix_ids()[1]), "▁the");
  EXPECT_EQ(prompt.document_start(), Start::kContinuation);
}

TEST_F(PromptTest, QuestionIsOneContinuingText) {
  const auto file = PromptFile::Load(LONGLEAF_SOURCE_DIR "/model/demo");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto ids = Make(*file).QuestionIds("Who is it?");
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(tokenizer_->Decode(*ids), "\nQuestion: Who is it?\nAnswer:");
  EXPECT_EQ(tokenizer_->PieceName(ids->front()), "<0x0A>");
}

TEST_F(PromptTest, QuestionThatIsNotUtf8) {
  const auto ids = Make({}).QuestionIds("ab\xFF");
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ids.status().message(), "not UTF-8 at byte 2");
}

TEST_F(PromptTest, DigestFollowsWhatADocumentDependsOn) {
  PromptFile file;
  const std::string plain = Make(file).digest();
  file.question_prefix = "other";
  file.stop = {};
  file.max_answer_tokens = 3;
  EXPECT_EQ(Make(file).digest(), plain);
  file.preamble = "the";
  const std::string with_preamble = Make(file).digest();
  EXPECT_NE(with_preamble, plain);
  file.preamble = "a";
  EXPECT_NE(Make(file).digest(), with_preamble);
}

}  // namespace
}  // namespace longleaf::model
