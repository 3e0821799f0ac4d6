// How the engine takes a question from its arrival to its last token.

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
                       question_seconds_.load(std::memory_order_relaxed));
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
  question_seconds_.store(0.9 * question_seconds_.load() + 0.1 * seconds);
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
    return !question->ended && question->stage() == QuestionJob::Stage::kWaiting &&
           question->request().document == name;
  });
}

void Engine::Loop::AdmitQuestions() {
  for (const auto& question : questions_) {
    if (!question->ended && question->stage() == QuestionJob::Stage::kWaiting) {
      Admit(*question);
    }
  }
}

// Starts the question if its document's state is here, sees to it that the state comes otherwise.
void Engine::Loop::Admit(QuestionJob& job) {
  const store::DocumentName& name = job.request().document;
  if (std::shared_ptr<LiveDocument> live = cache_.Find(name)) {
    QuestionJob::Source source;
    if (job.waited_for_state) {
      source.tier = live->tier;
      source.tokens_reused = live->tokens_reused;
      source.tokens_prefilled = live->tokens_prefilled;
      source.restore_seconds = live->seconds;
    } else {
      metrics_->StateLookup("memory", "hit");
      source.tokens_reused = live->state->tokens();
    }
    source.token_ends = live->token_ends;
    if (!Reserve(job, *live->state)) {
      return;
    }
    job.document = live;
    Start(job, *live->state, std::move(source));
    return;
  }
  DocumentJob* document = FindJob(name);
  if (document != nullptr && job.request().allow_partial && !job.waited_for_state) {
    // Of an upload that is still being read: what there is. (One that is ACTIVE and read again for
    // want of a state is waited for.)
    if (document->waiting_to_be_read()) {
      AnswerPartially(job, *document);
      return;
    }
  }
  if (!job.waited_for_state) {
    metrics_->StateLookup("memory", "miss");
    job.waited_for_state = true;
  }
  if (document == nullptr) {
    if (draining_) {
      EndQuestion(job, WithDetails(absl::UnavailableError("the server is shutting down"),
                                   {.reason = reason::kDraining, .retry_seconds = 1}));
      return;
    }
    AddJob(name, /*uploaded=*/false);
  }
}

void Engine::Loop::AnswerPartially(QuestionJob& job, DocumentJob& document) {
  const bool reading = document.stage == DocumentJob::Stage::kReading;
  if (!reading || document.state->tokens() <= model_->prefix_tokens()) {
    EndQuestion(
        job, WithDetails(absl::FailedPreconditionError("nothing of the document has been read yet"),
                         {.reason = reason::kNotActive, .retry_seconds = 1}));
    return;
  }
  QuestionJob::Source source;
  source.tokens_reused = document.state->tokens();
  source.token_ends = document.loaded.token_ends;
  if (Reserve(job, *document.state)) {
    Start(job, *document.state, std::move(source));
  }
}

// Promises the question the memory it can grow to. False: it has to wait, or has been ended because
// there will never be enough.
bool Engine::Loop::Reserve(QuestionJob& job, const kernels::State& parent) {
  const int64_t bytes = model_->backend().BytesToGrow(parent, job.TokensAtMost());
  if (bytes + parent.bytes() > model_->backend().memory().state_capacity_bytes) {
    EndQuestion(job, WithDetails(absl::ResourceExhaustedError(
                                     "the question needs more memory than --state-memory allows"),
                                 {.reason = reason::kOutOfMemory}));
    return false;
  }
  if (!Reserve(bytes)) {
    return false;
  }
  job.reserved_bytes = bytes;
  return true;
}

void Engine::Loop::Start(QuestionJob& job, const kernels::State& parent,
                         QuestionJob::Source source) {
  absl::StatusOr<std::unique_ptr<kernels::State>> branch = model_->backend().Branch(parent);
  if (!branch.ok()) {
    EndQuestion(job, branch.status());
    return;
  }
  source.prefix_tokens = model_->prefix_tokens();
  source.document_tokens = parent.tokens() - source.prefix_tokens;
  metrics_->Waiting(RequestKind::kQuestion, -1);
  metrics_->Running(1);
  metrics_->QueueSeconds(
      std::chrono::duration<double>(Clock::now() - job.request().arrival).count());
  metrics_->ReusedTokens(source.tokens_reused);
  job.Begin(*std::move(branch), std::move(source));
}

}  // namespace longleaf::service
