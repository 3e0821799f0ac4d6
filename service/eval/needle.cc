// longleaf-eval needle: facts hidden in filler text, asked back; exact match by length, depth and
// attention policy.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/eval/answer.h"
#include "service/eval/commands.h"
#include "service/eval/fact_catalogue.h"
#include "service/eval/needle_options.h"
#include "service/eval/needle_report.h"
#include "service/eval/needle_trial.h"
#include "service/eval/read_file.h"
#include "service/eval/report_file.h"
#include "service/eval/session.h"

namespace longleaf::service::eval {
namespace {

absl::StatusOr<FactCatalogue> LoadFacts(const NeedleOptions& options) {
  auto catalogue = FactCatalogue::Load(options.FactsFile());
  if (absl::IsNotFound(catalogue.status()) && options.facts.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model brings no facts of its own: give --facts FILE (",
                     catalogue.status().message(), ")"));
  }
  return catalogue;
}

absl::Status LoadProse(const NeedleOptions& options, const TextModel& text, Prose* prose) {
  for (const std::string& path : options.FillerFiles()) {
    auto content = ReadFile(path);
    if (!content.ok()) {
      if (!options.filler.empty()) return content.status();
      return absl::InvalidArgumentError(
          absl::StrCat("the model brings no filler text of its own: give --filler FILE (",
                       content.status().message(), ")"));
    }
    auto filler = Filler::Create(*content, text.tokenizer());
    if (!filler.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": ", filler.status().message()));
    }
    prose->texts.push_back(*std::move(content));
    prose->fillers.push_back(*std::move(filler));
  }
  return absl::OkStatus();
}

NeedleReport StartReport(const NeedleOptions& options, Session& session) {
  NeedleReport report;
  report.depths = options.depths;
  const NeedlePlan& plan = options.plan;
  const std::string phrasings = PhrasingsName(plan.phrasings);
  report.head.push_back(absl::StrFormat(
      "exact match, task %s, %s phrasings: %d documents a cell, %d facts and %d questions without "
      "an answer each",
      TaskName(plan.task), phrasings, options.documents, plan.facts(), plan.unstated));
  if (options.full_documents > 0) {
    report.head.push_back(absl::StrFormat(
        "full attention reads %d documents from %d tokens on",
        options.DocumentsOf(kernels::AttentionPolicy::Full(), options.full_documents_from),
        options.full_documents_from));
  }
  report.setup = {{"model", options.session.model},
                  {"weights", options.session.weights},
                  {"state_dtype", options.session.state_dtype},
                  {"device", session.backend().name()},
                  {"facts_file", options.FactsFile()},
                  {"filler", options.FillerFiles()},
                  {"task", TaskName(plan.task)},
                  {"phrasings", phrasings},
                  {"documents", options.documents},
                  {"full_documents", options.full_documents},
                  {"full_documents_from", options.full_documents_from},
                  {"questions", plan.facts()},
                  {"unstated", plan.unstated},
                  {"seed", plan.seed}};
  return report;
}

// Fills in `cell` what was answered on one document.
std::vector<NeedleResult> Results(const Trial& trial, const TrialAnswers& said) {
  std::vector<NeedleResult> results;
  for (size_t i = 0; i < trial.facts.size(); ++i) {
    NeedleResult result;
    result.document = trial.number;
    result.question = static_cast<int64_t>(i);
    result.fact = trial.facts[i];
    result.answer = said.answers[i];
    result.found = FindAnswers(result.fact, result.answer);
    if (i < trial.depths.size()) result.depths = trial.depths[i];
    results.push_back(std::move(result));
  }
  return results;
}

class NeedleRun {
 public:
  NeedleRun(const NeedleOptions& options, Session& session, const TextModel& text,
            ReportFile& answers)
      : options_(options), session_(session), text_(text), answers_(answers) {}

  // All documents of one length under all policies.
  absl::Status Measure(int64_t length, const std::vector<kernels::AttentionPolicy>& policies,
                       const FactCatalogue& catalogue, const Prose& prose, NeedleReport& report) {
    const size_t first = report.cells.size();
    for (const kernels::AttentionPolicy& policy : policies) {
      NeedleCell cell;
      cell.length = length;
      cell.attention = policy.ToString();
      cell.documents = options_.DocumentsOf(policy, length);
      report.cells.push_back(std::move(cell));
    }
    for (int64_t number = 0; number < options_.documents; ++number) {
      auto trial = MakeTrial(options_.plan, catalogue, prose, text_, length, number);
      if (!trial.ok()) return trial.status();
      for (size_t i = 0; i < policies.size(); ++i) {
        NeedleCell& cell = report.cells[first + i];
        if (number >= cell.documents) continue;
        if (absl::Status status = Ask(*trial, policies[i], cell); !status.ok()) return status;
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Ask(const Trial& trial, const kernels::AttentionPolicy& policy, NeedleCell& cell) {
    const std::string label = absl::StrFormat("%d tokens, %s, document %d of %d", cell.length,
                                              cell.attention, trial.number + 1, cell.documents);
    auto said = AskTrial(session_, text_, trial, policy, label);
    if (!said.ok()) return said.status();
    cell.state_bytes = said->state_bytes;
    cell.full_cache_bytes = said->full_cache_bytes;
    const std::vector<NeedleResult> results = Results(trial, *said);
    cell.results.insert(cell.results.end(), results.begin(), results.end());
    return answers_.Write(NeedleAnswers(cell, results));
  }

  const NeedleOptions& options_;
  Session& session_;
  const TextModel& text_;
  ReportFile& answers_;
};

absl::Status Run(const NeedleOptions& options) {
  auto catalogue = LoadFacts(options);
  if (!catalogue.ok()) return catalogue.status();
  auto session = Session::Open(options.session, kAnswersAtOnce);
  if (!session.ok()) return session.status();
  auto text = TextModel::Load(**session);
  if (!text.ok()) return text.status();
  auto policies = (*session)->Policies(options.attention);
  if (!policies.ok()) return policies.status();
  for (const int64_t length : options.lengths) {
    if (length > (*session)->config().context) {
      return absl::InvalidArgumentError(absl::StrCat("a length of ", length,
                                                     " tokens is beyond the model's context of ",
                                                     (*session)->config().context));
    }
  }
  Prose prose;
  if (absl::Status status = LoadProse(options, **text, &prose); !status.ok()) return status;
  auto answers = ReportFile::Create(options.answers);
  auto json = ReportFile::Create(options.json.file);
  auto picture = ReportFile::Create(options.picture);
  for (const auto* file : {&answers, &json, &picture}) {
    if (!file->ok()) return file->status();
  }

  NeedleReport report = StartReport(options, **session);
  NeedleRun run(options, **session, **text, *answers);
  for (const int64_t length : options.lengths) {
    absl::Status status = run.Measure(length, *policies, *catalogue, prose, report);
    if (!status.ok()) return status;
  }
  if (!options.json.instead_of_tables()) absl::PrintF("%s", NeedleTables(report, options.by_kind));
  if (absl::Status status = WriteJson(options.json, *json, NeedleJson(report)); !status.ok()) {
    return status;
  }
  return options.picture.empty() ? absl::OkStatus() : picture->Write(NeedlePicture(report));
}

}  // namespace

void AddNeedleCommand(CLI::App& app, Action& chosen) {
  CLI::App* command = app.add_subcommand(
      "needle", "Exact match on facts hidden in a long text, by length and depth");
  auto options = std::make_shared<NeedleOptions>();
  AddNeedleFlags(*command, *options);
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
