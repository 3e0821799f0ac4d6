#include "service/cli/answer.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/cli/answer_screen.h"
#include "service/cli/exit_code.h"
#include "service/cli/quantity.h"
#include "service/cli/retry.h"
#include "service/cli/terminal.h"

namespace longleaf::service::cli {
namespace {

constexpr int kMostTries = 4;

double Seconds(const google::protobuf::Duration& duration) {
  return absl::ToDoubleSeconds(ToDuration(duration));
}

// One call. `any` is set as soon as an event has come, `written` cleared when output failed.
grpc::Status Stream(Session& session, const v1::AskRequest& request, AnswerScreen* screen,
                    Answer* answer, bool* any, bool* written) {
  Call call(session);
  const auto stream = session.questions().Ask(call.context(), request);
  bool finished = false;
  v1::AskResponse event;
  while (stream->Read(&event)) {
    *any = true;
    switch (event.event_case()) {
      case v1::AskResponse::kProgress:
        screen->Progress(event.progress());
        break;
      case v1::AskResponse::kStarted:
        answer->started = event.started();
        break;
      case v1::AskResponse::kText:
        *written = *written && screen->Text(event.text().text());
        answer->text += event.text().text();
        answer->logprobs.insert(answer->logprobs.end(), event.text().logprobs().begin(),
                                event.text().logprobs().end());
        break;
      case v1::AskResponse::kFinished:
        answer->finished = event.finished();
        finished = true;
        break;
      case v1::AskResponse::EVENT_NOT_SET:
        break;  // of a newer server
    }
    if (!*written) {
      call.context()->TryCancel();
    }
  }
  const grpc::Status status = stream->Finish();
  if (status.ok() && !finished) {
    return grpc::Status(grpc::StatusCode::DATA_LOSS, "the answer broke off");
  }
  return status;
}

std::string Quoted(const std::string& text) { return "'" + EscapeLine(text) + "'"; }

}  // namespace

Json AnswerJson(const v1::AskRequest& request, const Answer& answer) {
  const v1::Usage& usage = answer.finished.usage();
  const v1::Timings& timings = answer.finished.timings();
  Json json = {{"document", request.document()},
               {"question", request.question()},
               {"text", answer.text},
               {"finish_reason", Word(answer.finished.reason())},
               {"state_tier", Word(answer.started.tier())},
               {"tokens_reused", usage.tokens_reused()},
               {"tokens_prefilled", usage.tokens_prefilled()},
               {"document_tokens", usage.document_tokens()},
               {"document_tokens_visible", answer.started.document_tokens_visible()},
               {"question_tokens", usage.question_tokens()},
               {"answer_tokens", usage.answer_tokens()},
               {"ttft_seconds", Seconds(timings.time_to_first_token())},
               {"queue_seconds", Seconds(timings.queue())},
               {"restore_seconds", Seconds(timings.restore())},
               {"prefill_seconds", Seconds(timings.prefill())},
               {"decode_seconds", Seconds(timings.decode())},
               {"total_seconds", Seconds(timings.total())},
               {"seed", answer.finished.seed()}};
  json["evidence"] = Json::array();
  for (const v1::Evidence& evidence : answer.finished.evidence()) {
    json["evidence"].push_back(ToJson(evidence));
  }
  if (request.sampling().has_logprobs()) {
    json["logprobs"] = Json::array();
    for (const v1::TokenLogprobs& token : answer.logprobs) {
      json["logprobs"].push_back(ToJson(token));
    }
  }
  return json;
}

std::string AnswerSummary(const v1::AskRequest& request, const Answer& answer) {
  const v1::Usage& usage = answer.finished.usage();
  const v1::Timings& timings = answer.finished.timings();
  std::string text = absl::StrCat(
      "state from ", Word(answer.started.tier()), ", ", FormatCount(usage.tokens_reused()),
      " tokens reused, ", FormatCount(usage.tokens_prefilled()), " read; first token after ",
      FormatSpan(ToDuration(timings.time_to_first_token())), "; ",
      FormatCount(usage.answer_tokens()), usage.answer_tokens() == 1 ? " token" : " tokens");
  const double decode = Seconds(timings.decode());
  if (usage.answer_tokens() > 1 && decode > 0) {
    // The first token came with the prefill.
    absl::StrAppendFormat(&text, " at %.1f/s",
                          static_cast<double>(usage.answer_tokens() - 1) / decode);
  }
  if (answer.started.document_tokens_visible() < usage.document_tokens()) {
    absl::StrAppend(&text, "; from the first ",
                    FormatCount(answer.started.document_tokens_visible()), " of ",
                    FormatCount(usage.document_tokens()), " tokens only");
  }
  if (answer.finished.reason() == v1::FINISH_REASON_MAX_TOKENS) {
    text += "; cut at the most tokens allowed";
  } else if (answer.finished.reason() == v1::FINISH_REASON_CONTEXT_FULL) {
    text += "; cut as the context is full";
  }
  if (request.sampling().temperature() > 0) {
    absl::StrAppend(&text, "; seed ", answer.finished.seed());
  }
  return text;
}

std::string EvidenceText(const v1::Finished& finished, int width) {
  std::string text = "Passages that the answer attended to (a hint where to look, not a proof):\n";
  if (finished.evidence().empty()) {
    return text + "  none\n";
  }
  int number = 0;
  for (const v1::Evidence& evidence : finished.evidence()) {
    absl::StrAppendFormat(&text, "%3d. bytes %s to %s, weight %.1f%%\n", ++number,
                          FormatCount(evidence.begin_byte()), FormatCount(evidence.end_byte()),
                          100.0 * evidence.weight());
    const auto columns = static_cast<size_t>(std::max(width - 6, 20));
    const absl::string_view passage = absl::StripAsciiWhitespace(evidence.text());
    for (const std::string& line : WrapWords(absl::StrCat("\"", passage, "\""), columns)) {
      absl::StrAppend(&text, "     ", EscapeLine(line), "\n");
    }
  }
  return text;
}

std::string LogprobsText(const std::vector<v1::TokenLogprobs>& logprobs) {
  std::string text;
  for (const v1::TokenLogprobs& token : logprobs) {
    absl::StrAppendFormat(&text, "%8.3f  %s", token.chosen().logprob(),
                          Quoted(token.chosen().text()));
    for (const v1::TokenLogprobs::Candidate& candidate : token.top()) {
      absl::StrAppendFormat(&text, "  %.3f %s", candidate.logprob(), Quoted(candidate.text()));
    }
    text += "\n";
  }
  return text;
}

bool PrintDetails(const Session& session, const v1::AskRequest& request, const Answer& answer) {
  std::string more = LogprobsText(answer.logprobs);
  if (request.max_evidence() > 0) {
    more += EvidenceText(answer.finished, IsTerminal(STDOUT_FILENO) ? TerminalWidth() : 100);
  }
  if (!more.empty() && !WriteOutput("\n" + more)) {
    return false;
  }
  if (IsTerminal(STDERR_FILENO) && !session.quiet()) {
    WriteError(Dim(AnswerSummary(request, answer)) + "\n");
  }
  return true;
}

int AskOne(Session& session, const v1::AskRequest& request) {
  const bool reached = session.Reached();
  Retry retry(kMostTries);
  for (;;) {
    Answer answer;
    AnswerScreen screen(session);
    bool any = false;
    bool written = true;
    const grpc::Status status = Stream(session, request, &screen, &answer, &any, &written);
    written = screen.End() && written;
    if (written && status.ok()) {
      written = session.json() ? PrintJson(AnswerJson(request, answer))
                               : PrintDetails(session, request, answer);
    }
    if (!written) {
      return session.FailLocally("cannot write the output", kRefused);
    }
    if (status.ok()) {
      return kOk;
    }
    if (any || !reached || !retry.Again(status, session.deadline(), &session.interrupt())) {
      return session.Fail(status);
    }
  }
}

}  // namespace longleaf::service::cli
