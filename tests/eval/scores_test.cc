// Judging answers, intervals around shares of them, pictures of those, and files of questions.
#include <cmath>
#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "program.h"
#include "service/eval/clustered_mean.h"
#include "service/eval/heat_map.h"
#include "service/eval/qa_file.h"
#include "service/eval/squad_score.h"

namespace longleaf::service::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// ---- words

TEST(SquadScoreTest, WordsThatCount) {
  EXPECT_THAT(AnswerWords("  The  Cat's, a DOG; and an\town.\n"),
              ElementsAre("cats", "dog", "and", "own"));
  // An article within a word is none; punctuation leaves no gap.
  EXPECT_THAT(AnswerWords("theatre an-other $1,250.50"),
              ElementsAre("theatre", "another", "125050"));
  EXPECT_THAT(AnswerWords("Größe — café"), ElementsAre("größe", "—", "café"));
  EXPECT_THAT(AnswerWords("The."), ElementsAre());
}

TEST(SquadScoreTest, ScoresComputedByHand) {
  struct Case {
    std::string answer;
    std::vector<std::string> expected;
    double exact;
    double f1;
  };
  const std::vector<Case> cases = {
      {"the Denver Broncos.", {"Denver Broncos"}, 1, 1},
      {"Denver", {"Denver Broncos"}, 0, 2.0 / 3},         // precision 1, recall 1/2
      {"in the city of Denver", {"Denver"}, 0, 2.0 / 5},  // precision 1/4, recall 1
      {"red red blue", {"red green"}, 0, 2.0 / 5},        // one red counts: 1/3 and 1/2
      {"green", {"red"}, 0, 0},
      {"Denver", {"Carolina", "Denver", "the city"}, 1, 1},  // the best
      {"", {"the"}, 1, 1},                                   // both empty once normalised
      {"", {"red"}, 0, 0},
      {"red", {}, 0, 0},
  };
  for (const Case& one : cases) {
    const AnswerScore score = ScoreAnswer(one.answer, one.expected);
    EXPECT_DOUBLE_EQ(score.exact, one.exact) << one.answer;
    EXPECT_DOUBLE_EQ(score.f1, one.f1) << one.answer;
  }
}

TEST(SquadScoreTest, WordsInARow) {
  const std::vector<std::string> said = AnswerWords("red, 23 dollars and blue");
  EXPECT_TRUE(ContainsWords(said, {"23", "dollars"}));
  EXPECT_FALSE(ContainsWords(said, {"3", "dollars"}));
  EXPECT_FALSE(ContainsWords(said, {"dollars", "23"}));
  EXPECT_FALSE(ContainsWords(said, {}));
}

// ---- intervals

std::vector<Observation> Clusters(const std::vector<std::vector<double>>& values) {
  std::vector<Observation> observations;
  for (size_t i = 0; i < values.size(); ++i) {
    for (const double value : values[i]) observations.push_back({static_cast<int64_t>(i), value});
  }
  return observations;
}

TEST(ClusteredMeanTest, StudentsQuantiles) {
  for (const auto& [degrees, value] : std::vector<std::pair<int64_t, double>>{
           {1, 12.706}, {2, 4.303}, {3, 3.182}, {5, 2.571}, {19, 2.093}, {100000, 1.960}}) {
    EXPECT_NEAR(StudentQuantile(degrees) / value, 1, 0.005) << degrees;
  }
}

// Three documents of two questions, of which 2, 1 and 0 are right. Mean 1/2; residual sums 1, 0,
// -1; CR1 variance 3/2 * 2/36 = 1/12; effective size (1/4) / (1/12) = 3. Wilson with t(2) = 4.3027:
// centre 1/2, half t sqrt(1/12 + t^2/36) / (1 + t^2/3).
TEST(ClusteredMeanTest, WilsonOfTheEffectiveSizeByHand) {
  const Estimate estimate = EstimateProportion(Clusters({{1, 1}, {1, 0}, {0, 0}}));
  const double t = 4.3027;
  const double half = t * std::sqrt(1.0 / 12 + t * t / 36) / (1 + t * t / 3);
  EXPECT_DOUBLE_EQ(estimate.mean, 0.5);
  EXPECT_NEAR(estimate.low, 0.5 - half, 1e-9);
  EXPECT_NEAR(estimate.high, 0.5 + half, 1e-9);
  EXPECT_EQ(estimate.count, 6);
  EXPECT_EQ(estimate.clusters, 3);
}

TEST(ClusteredMeanTest, QuestionsThatSucceedTogetherSayLess) {
  std::vector<std::vector<double>> together;
  std::vector<std::vector<double>> mixed;
  for (int i = 0; i < 20; ++i) {
    together.push_back(std::vector<double>(10, i % 2));
    mixed.push_back({1, 0, 1, 0, 1, 0, 1, 0, 1, i % 2 == 0 ? 0.0 : 1.0});
  }
  const Estimate wide = EstimateProportion(Clusters(together));
  const Estimate narrow = EstimateProportion(Clusters(mixed));
  EXPECT_NEAR(wide.mean, 0.5, 1e-12);
  EXPECT_GT(wide.high - wide.low, 0.35);      // as of 20 answers
  EXPECT_LT(narrow.high - narrow.low, 0.16);  // as of 200
}

TEST(ClusteredMeanTest, AtTheEdges) {
  EXPECT_EQ(EstimateProportion({}).count, 0);
  const Estimate all =
      EstimateProportion(Clusters(std::vector<std::vector<double>>(20, {1, 1, 1})));
  EXPECT_EQ(all.high, 1);
  EXPECT_LT(all.low, 0.95);  // 60 right answers do not show more than 93%
  EXPECT_GT(all.low, 0.9);
  const Estimate one = EstimateProportion(Clusters({{1, 1, 1, 1}}));
  EXPECT_LT(one.low, 0.05);  // of one document nothing is known about others
}

TEST(ClusteredMeanTest, Differences) {
  // Mean 0.1; residual sums 0.1, -0.2, 0.1; variance 3/2 * 0.06 / 36.
  const Estimate some = EstimateDifference(Clusters({{0.2, 0.1}, {0.1, -0.1}, {0.1, 0.2}}));
  EXPECT_DOUBLE_EQ(some.mean, 0.1);
  const double half = 4.3027 * std::sqrt(1.5 * 0.06 / 36);
  EXPECT_NEAR(some.low, 0.1 - half, 1e-9);
  EXPECT_NEAR(some.high, 0.1 + half, 1e-9);
  const Estimate none = EstimateDifference(Clusters(std::vector<std::vector<double>>(20, {0, 0})));
  EXPECT_EQ(none.mean, 0);
  EXPECT_GT(none.high, 0.05);  // 40 equal pairs do not rule out a few that differ
  EXPECT_LT(none.high, 0.15);
  EXPECT_EQ(none.low, -none.high);
}

// ---- picture

TEST(HeatMapTest, HoldsEveryCellAndEscapesText) {
  HeatMapPage page;
  page.title = "a < b & \"c\"";
  page.column_axis = "tokens";
  page.row_axis = "depth";
  page.rows = {"0-50%", "50-100%"};
  page.panels.push_back({"full", {"1K"}, {{"foot"}}, {{{0.5, 0.25, 0.75, 40, 4}}, {Estimate{}}}});
  page.panels.push_back({"cca", {"1K"}, {{}}, {{{1, 0.9, 1, 40, 4}}, {{0.996, 0.9, 1, 40, 4}}}});
  const std::string svg = DrawHeatMaps(page);
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; &quot;c&quot;"));
  EXPECT_THAT(svg, Not(HasSubstr("a < b")));
  for (const char* text : {">50%<", ">25–75, n=40<", ">100%<", ">99.6%<", ">not asked<", ">foot<",
                           ">full<", ">cca<", ">50-100%<", "linearGradient"}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
}

// ---- files of questions

TEST(QaFileTest, TakesTheNamesOfPublishedSets) {
  for (
      const char* json :
      {R"({"document":"D","question":"Q","answers":["A","B"]})",
       R"({"context":"D","input":"Q","answers":["A","B"],"length":3,"all_classes":null})",
       R"({"document":{"id":"1","text":"D"},"question":{"text":"Q"},"answers":[{"text":"A"},{"text":"B"}]})",
       R"({"context":"D","question":"Q","answers":{"text":["A","B"],"answer_start":[0,1]}})",
       R"({"document":"D","questions":[{"question":"Q","answers":["A","B"]}]})"}) {
    const auto line = ParseQaLine(json);
    ASSERT_TRUE(line.ok()) << json << line.status();
    EXPECT_EQ(line->document, "D");
    ASSERT_EQ(line->questions.size(), 1);
    EXPECT_EQ(line->questions[0].question, "Q");
    EXPECT_THAT(line->questions[0].answers, ElementsAre("A", "B"));
  }
  const auto single = ParseQaLine(R"({"document_file":"d.txt","question":"Q","answer":"A"})");
  ASSERT_TRUE(single.ok());
  EXPECT_EQ(single->document_file, "d.txt");
  EXPECT_THAT(single->questions[0].answers, ElementsAre("A"));
}

TEST(QaFileTest, SaysWhatIsWrong) {
  for (const auto& [json, message] : std::vector<std::pair<std::string, std::string>>{
           {"{", "no JSON object"},
           {"[1]", "no JSON object"},
           {R"({"question":"Q","answer":"A"})", "no \"document\""},
           {R"({"document":"","question":"Q","answer":"A"})", "a document without text"},
           {R"({"document":7,"question":"Q","answer":"A"})", "a document without text"},
           {R"({"document":"D","context":"D","question":"Q","answer":"A"})",
            "\"context\" says again"},
           {R"({"document":"D","answer":"A"})", "no \"question\""},
           {R"({"document":"D","question":"","answer":"A"})", "a question without text"},
           {R"({"document":"D","question":"Q"})", "no \"answers\""},
           {R"({"document":"D","question":"Q","answers":[]})", "no answer to compare"},
           {R"({"document":"D","question":"Q","answers":[1]})", "an answer that is no text"},
           {R"({"document":"D","questions":[]})", "\"questions\" is no list"},
           {R"({"document":"D","questions":["Q"]})", "a question that is no object"}}) {
    const auto line = ParseQaLine(json);
    EXPECT_EQ(line.status().code(), absl::StatusCode::kInvalidArgument) << json;
    EXPECT_THAT(std::string(line.status().message()), HasSubstr(message)) << json;
  }
}

TEST(QaFileTest, DocumentsThatRepeatAreReadOnce) {
  const std::string folder = ::longleaf::testing::ScratchFolder();
  std::ofstream(folder + "/d.txt") << "D";
  const std::string path = folder + "/q.jsonl";
  std::ofstream(path) << R"({"document":"D","question":"1","answer":"A"})"
                      << "\n\n"
                      << R"({"document":"E","question":"2","answer":"A"})"
                      << "\n"
                      << R"({"document_file":"d.txt","question":"3","answer":"A"})";
  const auto documents = ReadQaFile(path);
  ASSERT_TRUE(documents.ok()) << documents.status();
  ASSERT_EQ(documents->size(), 2);
  EXPECT_EQ((*documents)[0].text, "D");
  ASSERT_EQ((*documents)[0].questions.size(), 2);
  EXPECT_EQ((*documents)[0].questions[1].question, "3");
  EXPECT_EQ((*documents)[0].questions[1].line, 4);
  EXPECT_EQ((*documents)[1].line, 3);

  std::ofstream(path, std::ios::app) << "\n{\"document\":\"D\"}\n";
  EXPECT_THAT(std::string(ReadQaFile(path).status().message()), HasSubstr("q.jsonl, line 5: no "));
  std::ofstream(path, std::ios::trunc) << "\n";
  EXPECT_EQ(ReadQaFile(path).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(ReadQaFile(folder + "/none").ok());
}

}  // namespace
}  // namespace longleaf::service::eval
