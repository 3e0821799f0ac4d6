#include "service/cli/batch.h"

#include <unistd.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "service/cli/answer.h"
#include "service/cli/answer_screen.h"
#include "service/cli/exit_code.h"
#include "service/cli/json_output.h"
#include "service/cli/retry.h"
#include "service/cli/status_text.h"
#include "service/cli/terminal.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {
namespace {

constexpr int kMostTries = 4;

// What has come of one question.
struct Part {
  v1::AskRequest request;
  Answer answer;
  bool ended = false;
  std::optional<grpc::Status> failure;
};

// Puts the events of a call in their places and shows what can be shown. The functions that write
// are false once standard output cannot be written.
class BatchScreen {
 public:
  BatchScreen(Session& session, const v1::AskRequest& request,
              const std::vector<std::string>& questions, size_t first)
      : session_(session), first_(first), parts_(questions.size()) {
    for (size_t i = 0; i < questions.size(); ++i) {
      parts_[i].request = request;
      parts_[i].request.set_question(questions[i]);
    }
  }

  bool Show(const v1::BatchAskResponse& event) {
    const auto index = static_cast<size_t>(event.index());
    if (index >= parts_.size() || !Open()) {
      return index >= parts_.size();  // not of this contract
    }
    Part& part = parts_[index];
    const bool current = index == current_;
    switch (event.event_case()) {
      case v1::BatchAskResponse::kProgress:
        if (current) {
          screen_->Progress(event.progress());
        }
        return true;
      case v1::BatchAskResponse::kStarted:
        part.answer.started = event.started();
        return true;
      case v1::BatchAskResponse::kText:
        part.answer.text += event.text().text();
        part.answer.logprobs.insert(part.answer.logprobs.end(), event.text().logprobs().begin(),
                                    event.text().logprobs().end());
        return !current || screen_->Text(event.text().text());
      case v1::BatchAskResponse::kFinished:
        part.answer.finished = event.finished();
        return End(index);
      case v1::BatchAskResponse::kFailed:
        part.failure = grpc::Status(static_cast<grpc::StatusCode>(event.failed().code()),
                                    event.failed().message(), event.failed().SerializeAsString());
        return End(index);
      case v1::BatchAskResponse::EVENT_NOT_SET:
        break;  // of a newer server
    }
    return true;
  }

  // The call is over. What had ended after one that did not is shown all the same.
  bool Close() {
    bool written = !screen_.has_value() || screen_->End();
    screen_.reset();
    for (++current_; current_ < parts_.size(); ++current_) {
      if (parts_[current_].ended) {
        written = written && Open() && ShowEnd();
      }
    }
    return written;
  }

  bool all_ended() const { return ended_ == parts_.size(); }
  // Of the first question that failed.
  int exit_code() const { return exit_code_; }

 private:
  // Sees to it that the question whose turn it is stands there, with what has come of its answer.
  bool Open() {
    if (screen_.has_value() || current_ >= parts_.size()) {
      return true;
    }
    const Part& part = parts_[current_];
    const std::string question =
        IsTerminal(STDOUT_FILENO) ? EscapeLine(part.request.question()) : part.request.question();
    screen_.emplace(session_);
    const bool written =
        session_.json() ||
        WriteOutput(absl::StrCat(first_ + current_ > 0 ? "\n" : "", "? ", question, "\n"));
    return written && (part.answer.text.empty() || screen_->Text(part.answer.text));
  }

  // The end of `index`; it and those that waited for it are shown.
  bool End(size_t index) {
    Part& part = parts_[index];
    if (part.ended) {
      return true;
    }
    part.ended = true;
    ++ended_;
    if (session_.json() && !PrintJson(LineFor(index))) {
      return false;
    }
    while (current_ < parts_.size() && parts_[current_].ended) {
      if (!Open() || !ShowEnd()) {
        return false;
      }
      ++current_;
    }
    return Open();
  }

  // What stands below the current answer.
  bool ShowEnd() {
    const Part& part = parts_[current_];
    bool written = screen_->End();
    screen_.reset();
    if (part.failure.has_value()) {
      const int code = session_.Fail(grpc::Status(
          part.failure->error_code(),
          absl::StrCat("question ", first_ + current_ + 1, ": ", part.failure->error_message()),
          part.failure->error_details()));
      exit_code_ = exit_code_ == kOk ? code : exit_code_;
    } else if (!session_.json()) {
      written = written && PrintDetails(session_, part.request, part.answer);
    }
    return written;
  }

  Json LineFor(size_t index) const {
    const Part& part = parts_[index];
    Json json = {{"index", first_ + index}};
    if (!part.failure.has_value()) {
      json.update(AnswerJson(part.request, part.answer));
      return json;
    }
    json["document"] = part.request.document();
    json["question"] = part.request.question();
    json["error"] = ToJson(DecodeFailure(*part.failure));
    return json;
  }

  Session& session_;
  const size_t first_;
  std::vector<Part> parts_;
  size_t current_ = 0;  // whose turn it is to be shown
  size_t ended_ = 0;
  int exit_code_ = kOk;
  std::optional<AnswerScreen> screen_;  // of the current one
};

// One call. `any` is set as soon as an event has come, `written` cleared when output failed.
grpc::Status Stream(Session& session, const v1::BatchAskRequest& request, BatchScreen* screen,
                    bool* any, bool* written) {
  Call call(session);
  const auto stream = session.questions().BatchAsk(call.context(), request);
  v1::BatchAskResponse event;
  while (stream->Read(&event)) {
    *any = true;
    *written = *written && screen->Show(event);
    if (!*written) {
      call.context()->TryCancel();
    }
  }
  const grpc::Status status = stream->Finish();
  if (status.ok() && !screen->all_ended()) {
    return grpc::Status(grpc::StatusCode::DATA_LOSS, "the answers broke off");
  }
  return status;
}

}  // namespace

BatchResult AskBatch(Session& session, const v1::AskRequest& request,
                     const std::vector<std::string>& questions, size_t first) {
  v1::BatchAskRequest batch;
  batch.set_document(request.document());
  *batch.mutable_sampling() = request.sampling();
  batch.set_allow_partial(request.allow_partial());
  for (const std::string& text : questions) {
    v1::BatchQuestion& question = *batch.add_questions();
    question.set_question(text);
    question.set_max_evidence(request.max_evidence());
  }
  const bool reached = session.Reached();
  Retry retry(kMostTries);
  for (;;) {
    BatchScreen screen(session, request, questions, first);
    bool any = false;
    bool written = true;
    const grpc::Status status = Stream(session, batch, &screen, &any, &written);
    written = written && (!any || screen.Close());
    if (!written) {
      return {session.FailLocally("cannot write the output", kRefused), true};
    }
    if (status.ok()) {
      return {screen.exit_code(), false};
    }
    if (any || !reached || !retry.Again(status, session.deadline(), &session.interrupt())) {
      return {session.Fail(status), true};
    }
  }
}

}  // namespace longleaf::service::cli
