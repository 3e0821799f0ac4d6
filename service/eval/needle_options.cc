#include "service/eval/needle_options.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"

namespace longleaf::service::eval {
namespace {

const std::map<std::string, Phrasings>& PhrasingNames() {
  static const auto& names =
      *new std::map<std::string, Phrasings>{{"trained", Phrasings::kTrained},
                                            {"held-out", Phrasings::kHeldOut},
                                            {"all", Phrasings::kAll}};
  return names;
}

void AddPlanFlags(CLI::App& command, NeedleOptions& options) {
  std::map<std::string, Task> tasks;
  for (const Task task : kTasks) tasks[TaskName(task)] = task;
  command
      .add_option(
          "--task", options.plan.task,
          "How facts stand to each other: single (one a document), multi-key (all of one "
          "relation), multi-value (several answers to a question), distractors (pairs of one "
          "relation), mixed")
      ->transform(CLI::Transformer(tasks))
      ->type_name("NAME")
      ->default_str(TaskName(options.plan.task));
  command
      .add_option("--phrasings", options.plan.phrasings,
                  "Statements and questions: trained, held-out (those marked * in the facts), all")
      ->transform(CLI::Transformer(PhrasingNames()))
      ->type_name("NAME")
      ->default_str(PhrasingsName(options.plan.phrasings));
  command
      .add_option("--questions", options.plan.questions,
                  "Facts in a document, all asked; the task single has one")
      ->check(CLI::Range(int64_t{1}, int64_t{10000}))
      ->capture_default_str();
  command
      .add_option("--unstated", options.plan.unstated,
                  "Questions that a document does not answer; right is \"not stated\"")
      ->check(CLI::Range(int64_t{0}, int64_t{10000}))
      ->capture_default_str();
  command
      .add_option("--facts", options.facts,
                  "Kinds of facts; default: facts.txt in the model's folder")
      ->type_name("FILE");
  command
      .add_option("--filler", options.filler,
                  "Prose between the facts; several files take turns; default: document.txt in the "
                  "model's folder")
      ->allow_extra_args(false)
      ->type_name("FILE");
  command.add_option("--seed", options.plan.seed, "Seed of facts and filler")
      ->capture_default_str();
}

}  // namespace

std::string PhrasingsName(Phrasings phrasings) {
  for (const auto& [name, value] : PhrasingNames()) {
    if (value == phrasings) return name;
  }
  return "";
}

std::string NeedleOptions::FactsFile() const {
  return facts.empty() ? absl::StrCat(session.model, "/facts.txt") : facts;
}

std::vector<std::string> NeedleOptions::FillerFiles() const {
  if (!filler.empty()) return filler;
  return {absl::StrCat(session.model, "/document.txt")};
}

int64_t NeedleOptions::DocumentsOf(const kernels::AttentionPolicy& policy, int64_t length) const {
  const bool fewer = full_documents > 0 && length >= full_documents_from &&
                     policy.kind == kernels::AttentionPolicy::Kind::kFull;
  return fewer ? std::min(full_documents, documents) : documents;
}

void AddNeedleFlags(CLI::App& command, NeedleOptions& options) {
  AddSessionFlags(command, options.session);
  AddAttentionFlag(command, options.attention);
  command
      .add_option("--lengths", options.lengths,
                  "Tokens of document, question and answer together, e.g. 1024,4096,16384")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->required();
  AddPlanFlags(command, options);
  command.add_option("--documents", options.documents, "Documents a length")
      ->check(CLI::Range(int64_t{1}, int64_t{100000}))
      ->capture_default_str();
  command
      .add_option("--full-documents", options.full_documents,
                  "Documents for the policy full at long lengths, where it is slow; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--full-documents-from", options.full_documents_from, "What is long, in tokens")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--depths", options.depths, "Equal ranges of depth to show results by")
      ->check(CLI::Range(int64_t{1}, int64_t{100}))
      ->capture_default_str();
  command.add_flag("--by-kind", options.by_kind, "A table by the list that answers come from");
  AddJsonFlag(command, options.json);
  command.add_option("--picture", options.picture, "Write heat maps, as SVG")->type_name("FILE");
  command
      .add_option("--answers", options.answers, "Write every question and answer, as lines of JSON")
      ->type_name("FILE");
}

}  // namespace longleaf::service::eval
