// longleaf-eval needle through its real binary. What the demo model knows is not tested here: its
// weights change.
#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

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

std::vector<std::string> Needle(std::vector<std::string> more) {
  std::vector<std::string> arguments = {"needle", "--model", kDemoModel, "--facts",
                                        "tests/eval/facts.txt"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(NeedleTest, CoreTokensKeepWhatTheWindowForgets) {
  const DemoModel model = ReadDemoModel();
  const ProgramResult result =
      RunEval(Needle({"--lengths", "2048,4096", "--documents", "4", "--attention", model.attention,
                      "--attention", model.window_only, "--json"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto report = Json::parse(result.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << result.out;
  ASSERT_EQ(report["cells"].size(), 4);
  for (size_t i = 0; i < 4; i += 2) {
    const Json& cores = report["cells"][i];
    const Json& window = report["cells"][i + 1];
    EXPECT_EQ(cores["attention"], model.attention);
    EXPECT_EQ(cores["length"], window["length"]);
    for (const Json* cell : {&cores, &window}) {
      const Json& stated = (*cell)["stated"];
      EXPECT_EQ(stated["asked"], 64);
      EXPECT_EQ(stated["documents"], 4);
      EXPECT_EQ((*cell)["unstated"]["asked"], 12);
      EXPECT_LE(stated["low"], stated["share"]);
      EXPECT_GE(stated["high"], stated["share"]);
      int64_t by_depth = 0;
      double right = 0;
      for (const Json& depth : (*cell)["depths"]) {
        by_depth += depth["asked"].get<int64_t>();
        right += depth["share"].get<double>() * depth["asked"].get<double>();
      }
      EXPECT_EQ(by_depth, 64);
      EXPECT_NEAR(right, stated["share"].get<double>() * 64, 1e-6);
    }
    // Both see the facts in the window.
    EXPECT_GE(cores["stated"]["share"], window["stated"]["share"].get<double>() + 0.2);
    EXPECT_GT(cores["state_bytes"], window["state_bytes"]);
    EXPECT_LT(cores["state_share"], 0.5);
    EXPECT_EQ(cores["full_cache_bytes"], window["full_cache_bytes"]);
  }
}

TEST(NeedleTest, WritesEveryReportBesideTheTable) {
  const std::string scratch = ScratchFolder();
  const ProgramResult result = RunEval(Needle({"--lengths",
                                               "1024",
                                               "--documents",
                                               "3",
                                               "--questions",
                                               "6",
                                               "--depths",
                                               "3",
                                               "--attention",
                                               "full",
                                               "--attention",
                                               ReadDemoModel().attention,
                                               "--by-kind",
                                               "--full-documents",
                                               "2",
                                               "--full-documents-from",
                                               "1024",
                                               "--json",
                                               scratch + "/r.json",
                                               "--picture",
                                               scratch + "/r.svg",
                                               "--answers",
                                               scratch + "/r.jsonl"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("full attention reads 2 documents from 1024 tokens on"));
  EXPECT_THAT(result.out, HasSubstr("points above full attention"));
  EXPECT_THAT(result.out, HasSubstr("by the list of the answer"));

  const auto report = Json::parse(ReadText(scratch + "/r.json"), nullptr, false);
  ASSERT_TRUE(report.is_object());
  ASSERT_EQ(report["cells"].size(), 2);
  EXPECT_EQ(report["cells"][0]["stated"]["asked"], 12);
  EXPECT_EQ(report["cells"][0]["state_share"], 1.0);
  EXPECT_EQ(report["cells"][1]["stated"]["asked"], 18);
  EXPECT_EQ(report["cells"][1]["depths"].size(), 3);
  // On the documents that both read.
  ASSERT_EQ(report["differences"].size(), 1);
  EXPECT_EQ(report["differences"][0]["asked"], 12);
  EXPECT_EQ(report["differences"][0]["documents"], 2);

  double right = 0;
  int64_t lines = 0;
  for (const absl::string_view line :
       absl::StrSplit(ReadText(scratch + "/r.jsonl"), '\n', absl::SkipEmpty())) {
    const auto answer = Json::parse(line.begin(), line.end(), nullptr, false);
    ASSERT_TRUE(answer.is_object()) << line;
    ++lines;
    if (answer["attention"] != "full" && !answer["depths"].empty()) {
      right += answer["right"].get<double>();
    }
  }
  EXPECT_EQ(lines, 5 * (6 + 3));
  EXPECT_NEAR(right, report["cells"][1]["stated"]["share"].get<double>() * 18, 1e-6);

  const std::string picture = ReadText(scratch + "/r.svg");
  EXPECT_THAT(picture, HasSubstr("<svg xmlns"));
  EXPECT_THAT(picture, HasSubstr(ReadDemoModel().attention));
}

TEST(NeedleTest, TasksAskWhatTheySay) {
  const std::string scratch = ScratchFolder();
  for (const std::string task : {"single", "multi-key", "multi-value", "distractors", "mixed"}) {
    const std::string file = absl::StrCat(scratch, "/", task, ".jsonl");
    const ProgramResult result =
        RunEval(Needle({"--lengths", "1024", "--documents", "2", "--questions", "8", "--task", task,
                        "--phrasings", "all", "--answers", file}));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    int64_t stated = 0;
    for (const absl::string_view line : absl::StrSplit(ReadText(file), '\n', absl::SkipEmpty())) {
      const auto answer = Json::parse(line.begin(), line.end(), nullptr, false);
      EXPECT_EQ(answer["expected"].size(), std::max<size_t>(1, answer["depths"].size()));
      if (answer["depths"].empty()) continue;
      ++stated;
      EXPECT_EQ(answer["statements"].size(), answer["expected"].size());
      if (task != "mixed") {
        EXPECT_EQ(answer["task"], task);
        EXPECT_EQ(answer["expected"].size(), task == "multi-value" ? 3 : 1);
      }
    }
    EXPECT_EQ(stated, task == "single" ? 2 : 16) << task;
  }
}

// The same questions, one after the other and several at a time. Quantised weights give equal bits.
TEST(NeedleTest, AnswersDoNotDependOnWhatIsAskedBeside) {
  const std::string scratch = ScratchFolder();
  std::vector<std::string> all;
  for (const std::string chunk : {"512", "40", "7"}) {
    const std::string file = absl::StrCat(scratch, "/", chunk);
    const ProgramResult result =
        RunEval(Needle({"--lengths", "1024", "--documents", "2", "--weights", "int8", "--chunk",
                        chunk, "--answers", file}));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    all.push_back(ReadText(file));
  }
  EXPECT_NE(all[0], "");
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0], all[2]);
}

TEST(NeedleTest, AsksForFactsWhereTheModelBringsNone) {
  const ProgramResult result =
      RunEval({"needle", "--model", "tests/golden/data/mha", "--lengths", "1024"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("give --facts FILE"));
}

TEST(NeedleTest, BadFilesGiveOneClearLine) {
  const std::string scratch = ScratchFolder();
  std::ofstream(scratch + "/bad.txt") << "list a = x\nrelation town : : a\n";
  std::ofstream(scratch + "/short.txt") << "One sentence. And another.";
  const std::vector<std::pair<std::vector<std::string>, std::string>> calls = {
      {{"--facts", scratch + "/bad.txt"}, "bad.txt: line 2: there is no kind \"town\""},
      {{"--facts", scratch + "/none.txt"}, "none.txt"},
      {{"--facts", "tests/eval/facts.txt", "--filler", scratch + "/short.txt"}, "short.txt"},
      {{"--facts", "tests/eval/facts.txt", "--answers", scratch + "/no/such/folder"}, "no/such"},
      {{"--facts", "tests/eval/facts.txt", "--task", "haystack"}, "--task"},
      {{"--facts", "tests/eval/facts.txt", "--lengths", "90000000"}, "context"},
  };
  for (const auto& [arguments, message] : calls) {
    std::vector<std::string> call = {"needle", "--model", kDemoModel};
    if (message != "context") call.insert(call.end(), {"--lengths", "1024"});
    call.insert(call.end(), arguments.begin(), arguments.end());
    const ProgramResult result = RunEval(call);
    EXPECT_NE(result.exit_code, 0);
    EXPECT_THAT(result.err, HasSubstr(message));
    EXPECT_EQ(result.out, "");
  }
}

}  // namespace
}  // namespace longleaf::testing
