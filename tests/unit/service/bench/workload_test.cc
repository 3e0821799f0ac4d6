#include "service/bench/workload.h"

#include <gtest/gtest.h>

#include <set>

namespace longleaf::service::bench {
namespace {

TEST(WorkloadTest, DocumentsHaveTheLengthThatWasAskedFor) {
  for (const int64_t bytes : {20, 500, 4096, 100'000}) {
    const std::string text = DocumentText(bytes, 1);
    EXPECT_LE(static_cast<int64_t>(text.size()), bytes);
    EXPECT_GT(static_cast<int64_t>(text.size()), bytes - 9);
  }
  EXPECT_FALSE(DocumentText(0, 1).empty());
}

TEST(WorkloadTest, TheSeedDecidesTheText) {
  std::set<std::string> texts;
  for (uint64_t seed = 0; seed < 64; ++seed) {
    texts.insert(DocumentText(200, seed));
    EXPECT_EQ(DocumentText(200, seed), DocumentText(200, seed));
  }
  EXPECT_EQ(texts.size(), 64);
}

TEST(WorkloadTest, QuestionsAreOneLineAndEndLikeOne) {
  const std::string question = QuestionText(60, 3);
  EXPECT_LE(question.size(), 60);
  EXPECT_GT(question.size(), 50);
  EXPECT_EQ(question.back(), '?');
  EXPECT_EQ(question.find('\n'), std::string::npos);
  EXPECT_GT(QuestionText(0, 3).size(), 1);
}

}  // namespace
}  // namespace longleaf::service::bench
