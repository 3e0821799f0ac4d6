// A question's arrival and its end.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "service/engine_loop.h"
#include "service/errors.h"

namespace longleaf::service {
namespace {

// The `reason` label of longleaf_requests_finished_total.
absl::string_view FinishLabel(const QuestionJob& job, const absl::Status& status) {
  if (absl::IsCancelled(status)) {
    return "cancelled";
  }
  if (absl::IsDeadlineExceeded(status)) {
    return "deadline";
  }
  if (!status.ok() || !job.finish_reason().has_value()) {
    return "failed";
  }
  switch (*job.finish_reason()) {
    case FinishReason::kEndOfText:
      return "end_of_text";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kMaxTokens:
      return "max_tokens";
    case FinishReason::kContextFull:
      return "context_full";
  }
  return "failed";
}

}  // namespace

absl::Status Engine::Loop::Ask(QuestionRequest request, std::shared_ptr<AnswerStream> stream) {
  {
    MutexLock lock(&mutex_);
    if (refusing_) {
      return WithDetails(absl::UnavailableError("the server is shutting down"),
                         {.reason = reason::kDraining, .retry_seconds = 1});
    }
    if (open_questions_ >= options_.max_questions) {
      metrics_->Rejected("queue_full");
      return QueueFull(absl::StrCat(open_questions_, " questions are waiting or being answered"),
                       question_slot_seconds_.load(std::memory_order_relaxed));
    }
    ++open_questions_;
  }
  metrics_->Waiting(RequestKind::kQuestion, 1);
  // The bell outlives the engine: a client may still read its stream then.
  stream->OnRoom([bell = bell_] { bell->Ring(); });
  auto job = std::make_shared<std::unique_ptr<QuestionJob>>(
      std::make_unique<QuestionJob>(std::move(request), std::move(stream), model_));
  Post([this, job] { questions_.push_back(std::move(*job)); });
  return absl::OkStatus();
}

void Engine::Loop::DropEndedQuestions() {
  const Clock::time_point now = Clock::now();
  for (auto it = questions_.begin(); it != questions_.end();) {
    QuestionJob& job = **it;
    job.stream().Flush(now);
    if (!job.ended && job.stream().cancelled()) {
      EndQuestion(job, absl::CancelledError("the client is gone"));
    } else if (!job.ended && now >= job.request().deadline) {
      EndQuestion(job, absl::DeadlineExceededError("the question's deadline has passed"));
    }
    it = job.ended ? questions_.erase(it) : std::next(it);
  }
}

void Engine::Loop::EndQuestion(QuestionJob& job, const absl::Status& status) {
  if (job.ended) {
    return;
  }
  job.ended = true;
  ForgetWaiting(&job);
  reserved_bytes_ -= job.reserved_bytes;
  job.reserved_bytes = 0;
  if (job.stage() == QuestionJob::Stage::kWaiting) {
    metrics_->Waiting(RequestKind::kQuestion, -1);
  } else {
    metrics_->Running(-1);
  }
  const double seconds =
      std::chrono::duration<double>(Clock::now() - job.request().arrival).count();
  metrics_->RequestSeconds(RequestKind::kQuestion, seconds);
  metrics_->Finished(RequestKind::kQuestion, FinishLabel(job, status));
  job.stream().Close(status);
  MutexLock lock(&mutex_);
  --open_questions_;
}

void Engine::Loop::EndQuestionsOn(const store::DocumentName& name, const absl::Status& status) {
  for (const auto& question : questions_) {
    if (question->request().document == name) {
      EndQuestion(*question, status);
    }
  }
}

bool Engine::Loop::AnyoneWaitsFor(const store::DocumentName& name) const {
  return std::any_of(questions_.begin(), questions_.end(), [&name](const auto& question) {
    const bool waits = question->stage() == QuestionJob::Stage::kWaiting ||
                       (question->restore != nullptr && question->document == nullptr);
    return waits && !question->ended && question->request().document == name;
  });
}

}  // namespace longleaf::service
