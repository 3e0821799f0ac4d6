// longleaf-eval qa through its real binary.
#include <cstdint>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "demo_model.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "program.h"

namespace longleaf::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

std::string Line(const std::string& document, const std::string& question,
                 const std::string& answer) {
  return Json{{"context", document}, {"input", question}, {"answers", {answer}}}.dump() + "\n";
}

// What the model answers, asked alone, is right when it is what the file expects.
TEST(QaTest, CountsWhatAskAnswers) {
  const std::string scratch = ScratchFolder();
  const std::string document =
      "It rained all day, and nobody came to the door. The market of the town of Brembley is held "
      "on Thursday. We went home by the river.";
  const std::string question = "On which day is the market of the town of Brembley?";
  std::ofstream(scratch + "/d.txt") << document;
  const ProgramResult asked = RunEval(
      {"ask", "--model", kDemoModel, "--document", scratch + "/d.txt", "--question", question});
  ASSERT_EQ(asked.exit_code, 0) << asked.err;
  const std::string answer = asked.out.substr(0, asked.out.size() - 1);
  ASSERT_NE(answer, "");

  std::ofstream(scratch + "/q.jsonl") << Line(document, question, "The " + answer + "!")
                                      << Line(document, question, "zz " + answer + " zz")
                                      << Line(document + " Again.", question, "zzz");
  const ProgramResult result =
      RunEval({"qa", scratch + "/q.jsonl", "--model", kDemoModel, "--attention", "full",
               "--attention", ReadDemoModel().attention, "--json", scratch + "/r.json", "--answers",
               scratch + "/r.jsonl"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("3 questions about 2 documents"));
  EXPECT_THAT(result.out, HasSubstr("points above full attention"));
  const auto report = Json::parse(ReadText(scratch + "/r.json"), nullptr, false);
  ASSERT_EQ(report["runs"].size(), 2);
  const Json& cca = report["runs"][1];
  EXPECT_EQ(cca["questions"], 3);
  EXPECT_EQ(cca["documents"], 2);
  EXPECT_NEAR(cca["exact_match"]["share"], 1.0 / 3, 1e-9);
  EXPECT_GT(cca["f1"]["share"], 0.4);
  EXPECT_LT(cca["f1"]["share"], 0.67);
  EXPECT_EQ(cca["minus_full"]["questions"], 3);
  ASSERT_EQ(cca["lengths"].size(), 1);
  EXPECT_EQ(cca["lengths"][0]["up_to_tokens"], 1024);

  int64_t lines = 0;
  for (const absl::string_view line :
       absl::StrSplit(ReadText(scratch + "/r.jsonl"), '\n', absl::SkipEmpty())) {
    const auto one = Json::parse(line.begin(), line.end(), nullptr, false);
    ASSERT_TRUE(one.is_object()) << line;
    if (one["line"] == 1) EXPECT_EQ(one["answer"], answer);
    ++lines;
  }
  EXPECT_EQ(lines, 6);
}

TEST(QaTest, DocumentsBeyondTheContextAreRefusedOrCutInTheMiddle) {
  const std::string scratch = ScratchFolder();
  const int64_t context = ReadDemoModel().context;
  ASSERT_GT(context, 0);
  std::string document;
  while (static_cast<int64_t>(document.size()) < 6 * context) document += "We went home again. ";
  std::ofstream(scratch + "/q.jsonl") << Line("Short.", "Who?", "x") << Line(document, "Who?", "x");
  const ProgramResult refused = RunEval({"qa", scratch + "/q.jsonl", "--model", kDemoModel});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, HasSubstr("q.jsonl, line 2: "));
  EXPECT_THAT(refused.err, HasSubstr("--truncate"));
  const ProgramResult cut =
      RunEval({"qa", scratch + "/q.jsonl", "--model", kDemoModel, "--truncate", "--json"});
  ASSERT_EQ(cut.exit_code, 0) << cut.err;
  const auto report = Json::parse(cut.out, nullptr, false);
  EXPECT_EQ(report["truncated_documents"], 1) << cut.out;
  EXPECT_EQ(report["runs"][0]["questions"], 2);
}

TEST(QaTest, BadFilesGiveOneClearLine) {
  const std::string scratch = ScratchFolder();
  std::ofstream(scratch + "/q.jsonl") << Line("D", "Q", "A") << "{\"document\": 7}\n";
  const ProgramResult bad = RunEval({"qa", scratch + "/q.jsonl", "--model", kDemoModel});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_THAT(bad.err, HasSubstr("q.jsonl, line 2: "));
  const ProgramResult none = RunEval({"qa", scratch + "/none.jsonl", "--model", kDemoModel});
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, HasSubstr("none.jsonl"));
}

}  // namespace
}  // namespace longleaf::testing
