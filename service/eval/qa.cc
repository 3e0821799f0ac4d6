// longleaf-eval qa: a file of documents, questions and answers; exact match and F1 by attention
// policy.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/core_state.h"
#include "service/eval/answer.h"
#include "service/eval/commands.h"
#include "service/eval/progress.h"
#include "service/eval/qa_file.h"
#include "service/eval/qa_report.h"
#include "service/eval/report_file.h"
#include "service/eval/session.h"

namespace longleaf::service::eval {
namespace {

struct QaOptions {
  SessionOptions session;
  std::string file;
  std::vector<std::string> attention;
  int64_t max_tokens = 0;
  bool truncate = false;
  JsonFlag json;
  std::string answers;
};

// A document as the model reads it.
struct PreparedDocument {
  std::vector<int32_t> ids;
  int64_t tokens = 0;  // of the whole text; more than ids where the middle was cut
};

class QaCommand {
 public:
  QaCommand(const QaOptions& options, Session& session, const TextModel& text)
      : options_(options), session_(session), text_(text) {}

  // Its tokens; those of the middle left out where it is too long and may be cut, as LongBench
  // does (Bai and others 2023).
  absl::StatusOr<PreparedDocument> Prepare(const QaDocument& document) const {
    auto ids = text_.DocumentIds(document.text);
    if (!ids.ok()) return At(document.line, ids.status());
    int64_t longest = 0;
    for (const QaQuestion& question : document.questions) {
      auto question_ids = text_.prompt().QuestionIds(question.question);
      if (!question_ids.ok()) return At(question.line, question_ids.status());
      longest = std::max(longest, static_cast<int64_t>(question_ids->size()));
    }
    PreparedDocument prepared;
    prepared.tokens = static_cast<int64_t>(ids->size());
    prepared.ids = *std::move(ids);
    const int64_t most = MaxTokens();
    const int64_t room = session_.config().context - longest - most;
    if (prepared.tokens <= room) return prepared;
    const bool nothing_left = room < static_cast<int64_t>(text_.prompt().prefix_ids().size()) + 2;
    if (!options_.truncate || nothing_left) {
      return At(document.line,
                absl::InvalidArgumentError(absl::StrCat(
                    "document, question and answer take ", prepared.tokens, " + ", longest, " + ",
                    most, " tokens, more than the model's context of ", session_.config().context,
                    nothing_left ? "" : "; --truncate leaves the document's middle out")));
    }
    const int64_t head = room / 2;
    prepared.ids.erase(prepared.ids.begin() + head, prepared.ids.end() - (room - head));
    return prepared;
  }

  // Reads one document and asks its questions.
  absl::Status Ask(const QaDocument& document, const PreparedDocument& prepared, int64_t number,
                   const std::string& label, const kernels::AttentionPolicy& policy, QaRun& run) {
    auto state = session_.NewState(policy);
    if (!state.ok()) return state.status();
    Progress progress(label, static_cast<int64_t>(prepared.ids.size()));
    const auto step_done = [&progress](int64_t done, const kernels::Tensor&) {
      progress.Update(done);
      return absl::OkStatus();
    };
    absl::Status status = session_.Read(**state, prepared.ids, 0, step_done);
    if (!status.ok()) return status;
    run.state_bytes += model::StateBytes((*state)->shape(), (*state)->tokens());
    run.full_cache_bytes += model::FullCacheBytes((*state)->shape(), (*state)->tokens());
    std::vector<std::string> questions;
    for (const QaQuestion& question : document.questions) questions.push_back(question.question);
    auto answers = AnswerAll(session_, text_, **state, questions, options_.max_tokens);
    if (!answers.ok()) return answers.status();
    for (size_t i = 0; i < questions.size(); ++i) {
      QaResult result;
      result.document = number;
      result.question = static_cast<int64_t>(i);
      result.document_tokens = prepared.tokens;
      result.asked = document.questions[i];
      result.answer = (*answers)[i];
      result.score = ScoreAnswer(result.answer, result.asked.answers);
      run.results.push_back(std::move(result));
    }
    return absl::OkStatus();
  }

 private:
  int64_t MaxTokens() const {
    return options_.max_tokens > 0 ? options_.max_tokens : text_.prompt().file().max_answer_tokens;
  }
  absl::Status At(int64_t line, const absl::Status& status) const {
    return absl::Status(status.code(),
                        absl::StrCat(options_.file, ", line ", line, ": ", status.message()));
  }

  const QaOptions& options_;
  Session& session_;
  const TextModel& text_;
};

QaReport StartReport(const QaOptions& options, Session& session,
                     const std::vector<QaDocument>& documents,
                     const std::vector<PreparedDocument>& prepared,
                     const std::vector<kernels::AttentionPolicy>& policies) {
  int64_t questions = 0;
  for (const QaDocument& document : documents) {
    questions += static_cast<int64_t>(document.questions.size());
  }
  const int64_t cut =
      std::count_if(prepared.begin(), prepared.end(), [](const PreparedDocument& one) {
        return one.tokens > static_cast<int64_t>(one.ids.size());
      });
  QaReport report;
  report.head.push_back(
      absl::StrFormat("%d questions about %d documents", questions, documents.size()));
  if (cut > 0) {
    report.head.push_back(absl::StrFormat(
        "%d documents are too long for the context and read without their middle", cut));
  }
  report.setup = {{"model", options.session.model},
                  {"weights", options.session.weights},
                  {"state_dtype", options.session.state_dtype},
                  {"device", session.backend().name()},
                  {"file", options.file},
                  {"documents", documents.size()},
                  {"questions", questions},
                  {"truncated_documents", cut}};
  for (const kernels::AttentionPolicy& policy : policies) {
    report.runs.emplace_back().attention = policy.ToString();
  }
  return report;
}

absl::Status Run(const QaOptions& options) {
  auto documents = ReadQaFile(options.file);
  if (!documents.ok()) return documents.status();
  auto session = Session::Open(options.session, kAnswersAtOnce);
  if (!session.ok()) return session.status();
  auto text = TextModel::Load(**session);
  if (!text.ok()) return text.status();
  auto policies = (*session)->Policies(options.attention);
  if (!policies.ok()) return policies.status();
  auto answers = ReportFile::Create(options.answers);
  if (!answers.ok()) return answers.status();
  auto json = ReportFile::Create(options.json.file);
  if (!json.ok()) return json.status();

  QaCommand command(options, **session, **text);
  std::vector<PreparedDocument> prepared;
  for (const QaDocument& document : *documents) {
    auto one = command.Prepare(document);
    if (!one.ok()) return one.status();
    prepared.push_back(*std::move(one));
  }
  QaReport report = StartReport(options, **session, *documents, prepared, *policies);
  for (size_t i = 0; i < documents->size(); ++i) {
    for (size_t p = 0; p < policies->size(); ++p) {
      QaRun& run = report.runs[p];
      const size_t first = run.results.size();
      const std::string label =
          absl::StrFormat("%s, document %d of %d", run.attention, i + 1, documents->size());
      absl::Status status = command.Ask((*documents)[i], prepared[i], static_cast<int64_t>(i),
                                        label, (*policies)[p], run);
      if (status.ok()) status = answers->Write(QaAnswers(run, first));
      if (!status.ok()) return status;
    }
  }
  if (!options.json.instead_of_tables()) absl::PrintF("%s", QaTables(report));
  return WriteJson(options.json, *json, QaJson(report));
}

}  // namespace

void AddQaCommand(CLI::App& app, Action& chosen) {
  CLI::App* command =
      app.add_subcommand("qa", "Exact match and F1 on a file of documents, questions and answers");
  auto options = std::make_shared<QaOptions>();
  command
      ->add_option(
          "file", options->file,
          "JSON lines: {\"document\" or \"document_file\", \"question\", \"answers\"}; the "
          "names of LongBench's files do too")
      ->required()
      ->type_name("FILE.jsonl");
  AddSessionFlags(*command, options->session);
  AddAttentionFlag(*command, options->attention);
  command
      ->add_option("--max-tokens", options->max_tokens,
                   "Longest answer; 0: as the model's prompt file says")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--truncate", options->truncate,
                    "Leave out the middle of documents that are longer than the context");
  AddJsonFlag(*command, options->json);
  command
      ->add_option("--answers", options->answers,
                   "Write every question and answer, as lines of JSON")
      ->type_name("FILE");
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
