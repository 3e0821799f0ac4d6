#include "service/eval/needle_trial.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "model/core_state.h"
#include "service/eval/progress.h"
#include "service/eval/squad_score.h"

namespace longleaf::service::eval {
namespace {

// Where the statements of document `number` stand in their shares of it. With one statement a
// document this is its depth: multiples of the golden ratio, so that any number of documents
// covers all depths evenly.
double PhaseOf(const NeedlePlan& plan, int64_t number) {
  if (plan.task != Task::kSingle) return 0.5;
  const double turns = (static_cast<double>(number) + 0.5) * 0.6180339887498949;
  return turns - std::floor(turns);
}

}  // namespace

absl::StatusOr<Trial> MakeTrial(const NeedlePlan& plan, const FactCatalogue& catalogue,
                                const Prose& prose, const TextModel& text, int64_t length,
                                int64_t number) {
  auto maker = FactMaker::Create(&catalogue, plan.phrasings,
                                 plan.seed * 1000003 + static_cast<uint64_t>(number));
  if (!maker.ok()) return maker.status();
  const auto filler = static_cast<size_t>(number) % prose.fillers.size();
  maker->AvoidNamesOf(prose.texts[filler]);
  auto stated = maker->Make(plan.task, plan.facts());
  if (!stated.ok()) return stated.status();
  Trial trial;
  trial.number = number;
  trial.facts = *stated;
  for (int64_t i = 0; i < plan.unstated; ++i) {
    auto fact = maker->MakeUnstated();
    if (!fact.ok()) return fact.status();
    trial.facts.push_back(*std::move(fact));
  }

  int64_t longest = 0;
  for (const Fact& fact : trial.facts) {
    auto ids = text.prompt().QuestionIds(fact.question);
    if (!ids.ok()) return ids.status();
    longest = std::max(longest, static_cast<int64_t>(ids->size()));
  }
  const int64_t room = length - longest - text.prompt().file().max_answer_tokens;
  int64_t wanted = room - static_cast<int64_t>(text.prompt().prefix_ids().size());
  SplitMix64 random(plan.seed * 7919 + static_cast<uint64_t>(number));
  // Sentences are counted one by one; together they may take a few tokens more.
  for (int attempt = 0; attempt < 4 && wanted > 0; ++attempt) {
    NeedleDocument document = MakeNeedleDocument(
        prose.fillers[filler], *stated, PhaseOf(plan, number), wanted, text.tokenizer(), random);
    auto ids = text.DocumentIds(document.text);
    if (!ids.ok()) return ids.status();
    const int64_t over = static_cast<int64_t>(ids->size()) - room;
    if (over <= 0) {
      trial.ids = *std::move(ids);
      trial.depths = std::move(document.depths);
      return trial;
    }
    wanted -= over;
  }
  return absl::InvalidArgumentError(absl::StrCat("a length of ", length, " tokens has no room for ",
                                                 plan.facts(), " facts, a question and an answer"));
}

absl::StatusOr<TrialAnswers> AskTrial(Session& session, const TextModel& text, const Trial& trial,
                                      const kernels::AttentionPolicy& policy,
                                      const std::string& label) {
  auto state = session.NewState(policy);
  if (!state.ok()) return state.status();
  Progress progress(label, static_cast<int64_t>(trial.ids.size()));
  const auto step_done = [&progress](int64_t done, const kernels::Tensor&) {
    progress.Update(done);
    return absl::OkStatus();
  };
  if (absl::Status status = session.Read(**state, trial.ids, 0, step_done); !status.ok()) {
    return status;
  }
  std::vector<std::string> questions;
  for (const Fact& fact : trial.facts) questions.push_back(fact.question);
  auto answers = AnswerAll(session, text, **state, questions);
  if (!answers.ok()) return answers.status();
  return TrialAnswers{model::StateBytes((*state)->shape(), (*state)->tokens()),
                      model::FullCacheBytes((*state)->shape(), (*state)->tokens()),
                      *std::move(answers)};
}

std::vector<bool> FindAnswers(const Fact& fact, std::string_view answer) {
  if (fact.answers.size() == 1) {
    const absl::string_view said = absl::StripAsciiWhitespace({answer.data(), answer.size()});
    const std::string& expected = fact.answers.front();
    return {said == expected || absl::StripSuffix(said, ".") == expected};
  }
  const std::vector<std::string> words = AnswerWords(answer);
  std::vector<bool> found;
  for (const std::string& one : fact.answers) {
    found.push_back(ContainsWords(words, AnswerWords(one)));
  }
  return found;
}

}  // namespace longleaf::service::eval
