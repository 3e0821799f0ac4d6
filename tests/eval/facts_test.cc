// The catalogue of facts and what is drawn from it.
#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "service/eval/fact_catalogue.h"
#include "service/eval/facts.h"

namespace longleaf::service::eval {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

FactCatalogue Parse(const std::string& text) {
  auto catalogue = FactCatalogue::Parse(text, "facts");
  EXPECT_TRUE(catalogue.ok()) << catalogue.status();
  return *catalogue;
}

constexpr char kTail[] =
    "kind town = {name}\nrelation town : mayor : a\ns {e} has {v}.\nq What has {e}?\n";

TEST(FactCatalogueTest, ReadsEveryKindOfEntry) {
  const FactCatalogue catalogue = Parse(
      "# a comment\r\n"
      "list a = x | y {b}\n"
      "list a += ${20..30} | {name}-{letter}{digit}\n"
      "list b = z\n"
      "\n"
      "kind town = the town of {name}\n"
      "kind ship = the {a}\n"
      "relation town, ship : mayor | head : a\n"
      "  s {E} has {v}.\n"
      "s* {V} is of {e}.\n"
      "q What has {e}?\n"
      "generic\n"
      "s The {n} of {e} is {v}.\n"
      "q* {N} of {e}?\n"
      "relation ship : : b\n"
      "s {e}: {v}\n"
      "q {e}?\n");
  ASSERT_EQ(catalogue.lists().size(), 2);
  EXPECT_EQ(catalogue.lists()[0].alternatives.size(), 4);
  ASSERT_EQ(catalogue.kinds().size(), 2);
  ASSERT_EQ(catalogue.relations().size(), 2);
  const Relation& first = catalogue.relations()[0];
  EXPECT_THAT(first.kinds, ElementsAre(0, 1));
  EXPECT_THAT(first.nouns, ElementsAre("mayor", "head"));
  EXPECT_EQ(first.values, "a");
  // Its own, then the generic ones, wherever they stand in the file.
  ASSERT_EQ(first.statements.size(), 3);
  EXPECT_FALSE(first.statements[0].held_out);
  EXPECT_TRUE(first.statements[1].held_out);
  EXPECT_EQ(first.statements[2].text, "The {n} of {e} is {v}.");
  ASSERT_EQ(first.questions.size(), 2);
  EXPECT_TRUE(first.questions[1].held_out);
  // No noun, no generic phrasings.
  EXPECT_EQ(catalogue.relations()[1].statements.size(), 1);
}

TEST(FactCatalogueTest, SaysWhatIsWrongAndWhere) {
  const std::string deep = [] {
    std::string text = "list a = {l0}\n";
    for (int i = 0; i < 40; ++i) absl::StrAppend(&text, "list l", i, " = {l", i + 1, "}\n");
    return text + "list l40 = x\n";
  }();
  const std::string doubling = [] {
    std::string text = "list a = {l0}\n";
    for (int i = 0; i < 12; ++i) {
      absl::StrAppend(&text, "list l", i, " = {l", i + 1, "}{l", i + 1, "}\n");
    }
    return text + "list l12 = x\n";
  }();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"list a = x\n", "facts: no relation"},
      {"lst a = x\n", "facts: line 1: an entry begins with"},
      {"list a x\n", "line 1: no ="},
      {"list a b = x\n", "line 1: a name is made of"},
      {"list name = x\n", "line 1: {name} already"},
      {"list a = x\nlist a = y\n", "line 2: a is there already"},
      {"list a += x\n", "line 1: a is not there yet"},
      {"list a = x |  | y\n", "line 1: an empty alternative"},
      {absl::StrCat("list a = {b}\n", kTail), "line 1: there is no list \"b\""},
      {absl::StrCat("list a = {town}\n", kTail), "line 1: there is no list \"town\""},
      {absl::StrCat("list a = x{\n", kTail), "line 1: braces"},
      {absl::StrCat("list a = x}\n", kTail), "line 1: braces"},
      {absl::StrCat("list a = {{b}}\n", kTail), "line 1: braces"},
      {absl::StrCat("list a = {9..2}\n", kTail), "line 1: {9..2} is no range"},
      {absl::StrCat("list a = {1..99999999999999}\n", kTail), "is no range"},
      {absl::StrCat("list a = {b}\nlist b = {a}\n", kTail), "line 1: list a contains itself"},
      {absl::StrCat(deep, kTail), "too deep"},
      {absl::StrCat(doubling, kTail), "too long"},
      {"relation town : a\n", "line 1: a relation is"},
      {"list a = x\nrelation town : : a\ns {e} {v}\nq {e}\n", "line 2: there is no kind \"town\""},
      {"kind town = x\nrelation town : : a\ns {e} {v}\nq {e}\n", "line 2: there is no list \"a\""},
      {"list a = x\nkind town = y\nrelation town : : a\ns {e} {v}\n", "line 3: a relation without"},
      {"s {e} {v}\n", "line 1: a phrasing before"},
      {absl::StrCat("list a = x\n", kTail, "s {e} only\n"), "line 6: no {v}"},
      {absl::StrCat("list a = x\n", kTail, "s {v} only\n"), "line 6: no {e}"},
      {absl::StrCat("list a = x\n", kTail, "q {e} {v}?\n"), "line 6: a question with its answer"},
      {absl::StrCat("list a = x\n", kTail, "s {e} {v} {n}\n"), "line 6: {n} is for generic"},
      {absl::StrCat("list a = x\n", kTail, "generic\ns {e} {v}\n"), "line 7: no {n}"},
      {absl::StrCat("list a = x\n", kTail, "s {e} {v} {z}\n"), "line 6: {z} is none of"},
      {absl::StrCat("list a = \xff\n", kTail), "line 1: not UTF-8"},
      {std::string(FactCatalogue::kMaxFileBytes + 1, '#'), "too large"},
  };
  for (const auto& [text, message] : cases) {
    const auto catalogue = FactCatalogue::Parse(text, "facts");
    EXPECT_EQ(catalogue.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(catalogue.status().message()), HasSubstr(message)) << text;
    EXPECT_THAT(std::string(catalogue.status().message()), StartsWith("facts: "));
  }
}

// {v} of every statement of `catalogue` that was drawn with many seeds.
std::set<std::string> Answers(const FactCatalogue& catalogue) {
  std::set<std::string> answers;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    auto maker = FactMaker::Create(&catalogue, Phrasings::kTrained, seed);
    EXPECT_TRUE(maker.ok());
    answers.insert(maker->Make(Task::kSingle, 1).value().front().answers[0]);
  }
  return answers;
}

TEST(FactMakerTest, ExpandsListsWithinLists) {
  const FactCatalogue catalogue = Parse(absl::StrCat(
      "list a = x{b} | {7..9} | -{digit} | +{letter}\nlist b = 1 | 2{c}\nlist c = !\n", kTail));
  const std::set<std::string> answers = Answers(catalogue);
  const std::set<std::string> expected = {"x1", "x2!", "7", "8", "9"};
  for (const std::string& answer : expected) EXPECT_TRUE(answers.contains(answer)) << answer;
  for (const std::string& answer : answers) {
    const bool digit = answer.size() == 2 && answer[0] == '-' &&
                       absl::ascii_isdigit(static_cast<unsigned char>(answer[1]));
    const bool letter = answer.size() == 2 && answer[0] == '+' &&
                        absl::ascii_isupper(static_cast<unsigned char>(answer[1]));
    EXPECT_TRUE(expected.contains(answer) || digit || letter) << answer;
  }
}

FactCatalogue TestFacts() {
  auto catalogue = FactCatalogue::Load(LONGLEAF_SOURCE_DIR "/tests/eval/facts.txt");
  EXPECT_TRUE(catalogue.ok()) << catalogue.status();
  return *catalogue;
}

std::vector<Fact> Draw(const FactCatalogue& catalogue, Task task, int64_t count, uint64_t seed,
                       Phrasings phrasings = Phrasings::kAll) {
  auto maker = FactMaker::Create(&catalogue, phrasings, seed);
  EXPECT_TRUE(maker.ok()) << maker.status();
  auto facts = maker->Make(task, count);
  EXPECT_TRUE(facts.ok()) << facts.status();
  return *facts;
}

TEST(FactMakerTest, EqualSeedsGiveEqualFacts) {
  const FactCatalogue catalogue = TestFacts();
  std::string all[3];
  for (const int i : {0, 1, 2}) {
    for (const Fact& fact : Draw(catalogue, Task::kMixed, 20, i == 2 ? 8 : 7)) {
      absl::StrAppend(&all[i], fact.statements[0], fact.question, fact.answers[0]);
    }
  }
  EXPECT_EQ(all[0], all[1]);
  EXPECT_NE(all[0], all[2]);
}

TEST(FactMakerTest, TasksAreWhatTheySay) {
  const FactCatalogue catalogue = TestFacts();
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<Fact> keys = Draw(catalogue, Task::kMultiKey, 12, seed);
    ASSERT_EQ(keys.size(), 12);
    std::set<std::string> questions;
    for (const Fact& fact : keys) {
      EXPECT_EQ(fact.relation, keys[0].relation);
      questions.insert(fact.question);
    }
    EXPECT_EQ(questions.size(), 12);

    for (const Fact& fact : Draw(catalogue, Task::kMultiValue, 5, seed)) {
      ASSERT_EQ(fact.answers.size(), 3);
      EXPECT_EQ(std::set<std::string>(fact.answers.begin(), fact.answers.end()).size(), 3);
      for (size_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(absl::StrContains(absl::AsciiStrToLower(fact.statements[i]),
                                      absl::AsciiStrToLower(fact.answers[i])));
      }
    }

    const std::vector<Fact> pairs = Draw(catalogue, Task::kDistractors, 10, seed);
    for (size_t i = 0; i < pairs.size(); i += 2) {
      EXPECT_EQ(pairs[i].relation, pairs[i + 1].relation);
      EXPECT_NE(pairs[i].answers[0], pairs[i + 1].answers[0]);
    }

    std::set<Task> tasks;
    const std::vector<Fact> mixed = Draw(catalogue, Task::kMixed, 16, seed);
    EXPECT_EQ(mixed.size(), 16);
    for (const Fact& fact : mixed) tasks.insert(fact.task);
    EXPECT_EQ(tasks.size(), 4);
  }
}

TEST(FactMakerTest, UsesThePhrasingsWanted) {
  const FactCatalogue catalogue = Parse(
      "list a = 1\nkind town = {name}\nrelation town : : a\ns old {e} {v}\ns* new {e} {v}\n"
      "q old {e}\nq* new {e}\nrelation town : : a\ns old {e} {v}\nq* new {e}\n");
  for (uint64_t seed = 0; seed < 30; ++seed) {
    for (const auto& [phrasings, begin] :
         {std::pair{Phrasings::kTrained, "Old"}, {Phrasings::kHeldOut, "New"}}) {
      for (const Fact& fact : Draw(catalogue, Task::kSingle, 4, seed, phrasings)) {
        EXPECT_THAT(fact.statements[0], StartsWith(begin));
        EXPECT_THAT(fact.question, StartsWith(begin));
      }
    }
  }
  const FactCatalogue trained = Parse(absl::StrCat("list a = 1\n", kTail));
  EXPECT_EQ(FactMaker::Create(&trained, Phrasings::kHeldOut, 1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(FactMakerTest, NamesAreHeldOutOnesAndNew) {
  // zlib.crc32(b"...") % 8, by Python.
  EXPECT_TRUE(IsHeldOutName("Brembley"));
  EXPECT_FALSE(IsHeldOutName("London"));
  const FactCatalogue catalogue =
      Parse("list a = {name}\nkind town = {name}\nrelation town : : a\ns {e} {v}\nq {e}\n");
  std::string avoided;
  for (const Fact& fact : Draw(catalogue, Task::kSingle, 60, 5)) {
    absl::StrAppend(&avoided, fact.question, " ", fact.answers[0], " ");
  }
  auto maker = FactMaker::Create(&catalogue, Phrasings::kTrained, 5);
  maker->AvoidNamesOf(avoided);
  std::set<std::string> names;
  const auto facts = maker->Make(Task::kSingle, 60);
  ASSERT_TRUE(facts.ok());
  for (const Fact& fact : *facts) {
    for (const std::string& name : {fact.question, fact.answers[0]}) {
      EXPECT_TRUE(IsHeldOutName(name)) << name;
      EXPECT_TRUE(names.insert(name).second) << name;
      EXPECT_FALSE(absl::StrContains(avoided, name)) << name;
    }
  }
}

TEST(FactMakerTest, UnstatedQuestionsAreOfNoThingThatIsStated) {
  const FactCatalogue catalogue = TestFacts();
  auto maker = FactMaker::Create(&catalogue, Phrasings::kAll, 3);
  std::string stated;
  std::set<std::string> relations;
  const auto facts = maker->Make(Task::kDistractors, 12);
  ASSERT_TRUE(facts.ok());
  for (const Fact& fact : *facts) {
    absl::StrAppend(&stated, fact.statements[0], "\n");
    relations.insert(fact.relation);
  }
  for (int i = 0; i < 10; ++i) {
    auto fact = maker->MakeUnstated();
    ASSERT_TRUE(fact.ok());
    EXPECT_TRUE(fact->statements.empty());
    EXPECT_THAT(fact->answers, ElementsAre(kNotStated));
    EXPECT_TRUE(relations.contains(fact->relation));
    // Its invented name is the word with a capital that is not the first one.
    for (const absl::string_view word : absl::StrSplit(fact->question, ' ')) {
      if (word.data() != fact->question.data() && word != "Works" &&
          absl::ascii_isupper(static_cast<unsigned char>(word.front()))) {
        EXPECT_FALSE(absl::StrContains(stated, word)) << fact->question;
      }
    }
  }
}

TEST(FactMakerTest, SaysWhenTheCatalogueIsTooSmall) {
  const FactCatalogue catalogue =
      Parse("list a = 1\nkind town = London | Paris\nrelation town : : a\ns {e} {v}\nq {e}\n");
  auto maker = FactMaker::Create(&catalogue, Phrasings::kTrained, 1);
  EXPECT_EQ(maker->Make(Task::kMultiKey, 2)->size(), 2);
  EXPECT_EQ(maker->Make(Task::kSingle, 1).status().code(), absl::StatusCode::kInvalidArgument);
  auto other = FactMaker::Create(&catalogue, Phrasings::kTrained, 1);
  // One answer cannot differ from itself.
  EXPECT_EQ(other->Make(Task::kDistractors, 2).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace longleaf::service::eval
