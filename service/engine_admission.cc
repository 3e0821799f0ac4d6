// Which questions start, when, and on which state.

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/engine_loop.h"
#include "service/errors.h"

namespace longleaf::service {
namespace {

// How far an estimate has to be beyond a deadline before somebody is refused for it: estimates are
// off by a third easily, and who is refused wrongly has lost an answer.
constexpr double kDeadlineDoubt = 1.5;
constexpr double kDeadlineDoubtSeconds = 0.25;

std::string Rounded(double seconds) { return absl::StrFormat("%.1f", seconds); }

}  // namespace

void Engine::Loop::AdmitQuestions() {
  int64_t running = 0;
  std::vector<QuestionJob*> waiting;
  std::vector<const Flow*> flows;
  for (const auto& question : questions_) {
    if (question->ended) {
      continue;
    }
    if (question->stage() == QuestionJob::Stage::kWaiting) {
      waiting.push_back(question.get());
      flows.push_back(&question->flow());
    } else {
      ++running;
    }
  }
  for (const size_t next : scheduler_.AdmissionOrder(WorkKind::kQuestion, flows)) {
    QuestionJob& job = *waiting[next];
    DocumentJob* const document = FindJob(job.request().document);
    if (RefusedForItsDeadline(job, document)) {
      continue;
    }
    Admit(job, document, running < options_.max_running_questions);
    running += job.stage() == QuestionJob::Stage::kWaiting ? 0 : 1;
  }
}

// A deadline that will pass before the first token is told at once, when the client can still ask
// elsewhere. Weighed when the question comes, and again when it is known how much of its document
// has to be read for it.
bool Engine::Loop::RefusedForItsDeadline(QuestionJob& job, const DocumentJob* document) {
  if (job.request().deadline == Clock::time_point::max() || !backlog_.knows()) {
    return false;
  }
  const int64_t rebuild =
      document == nullptr || document->waiting_to_be_read() ? 0 : document->tokens_left();
  if (rebuild <= job.deadline_checked_for) {
    return false;
  }
  job.deadline_checked_for = rebuild;
  Load load = CurrentLoad();
  load.waiting_questions = std::max<int64_t>(0, load.waiting_questions - 1);  // but this one
  load.question_tokens -= job.tokens_to_read();
  load.document_tokens -= rebuild;
  const double seconds = backlog_.SecondsToFirstToken(load, job.tokens_to_read(), rebuild);
  const double left = std::chrono::duration<double>(job.request().deadline - Clock::now()).count();
  if (seconds <= left * kDeadlineDoubt + kDeadlineDoubtSeconds) {
    return false;
  }
  metrics_->Rejected("deadline");
  EndQuestion(
      job,
      WithDetails(
          absl::ResourceExhaustedError(absl::StrCat("the first token is about ", Rounded(seconds),
                                                    " seconds away, the deadline ", Rounded(left))),
          {.reason = reason::kDeadlineTooShort, .retry_seconds = std::max(1.0, seconds - left)}));
  return true;
}

// Sees to it that the document's state comes, and starts the question if it is here and there is a
// place.
void Engine::Loop::Admit(QuestionJob& job, DocumentJob* document, bool may_start) {
  const store::DocumentName& name = job.request().document;
  if (std::shared_ptr<LiveDocument> live = cache_.Find(name)) {
    if (!may_start || !Reserve(job, *live->state)) {
      return;
    }
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
    job.document = live;
    Start(job, *live->state, std::move(source));
    return;
  }
  if (document != nullptr && document->restoring_whole() && job.waited_for_state) {
    if (may_start) {
      StartWhileRestoring(job, *document);
    }
    return;
  }
  // Of an upload that is still being read: what there is. (One that is ACTIVE and read again for
  // want of a state is waited for.)
  if (document != nullptr && job.request().allow_partial && !job.waited_for_state &&
      document->waiting_to_be_read()) {
    if (may_start) {
      AnswerPartially(job, *document);
    }
    return;
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
    Advance(AddJob(name, /*uploaded=*/false));  // at once: it is waited for
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

// The first layers can be used while the last are still on the disk. Nothing is told before all of
// it has been verified (Step sees to that).
void Engine::Loop::StartWhileRestoring(QuestionJob& job, DocumentJob& document) {
  if (job.failed_restore == document.restore || !Reserve(job, *document.state)) {
    return;
  }
  QuestionJob::Source source;
  source.tier = StateTier::kDisk;
  source.tokens_reused = document.total();
  source.token_ends = document.loaded.token_ends;
  source.restore_seconds =
      std::chrono::duration<double>(Clock::now() - document.loading_begun).count();
  job.restore = document.restore;
  Start(job, *document.state, std::move(source));
}

// The state that it began with turned out unusable: it waits for the next.
void Engine::Loop::Rewind(QuestionJob& job) {
  reserved_bytes_ -= job.reserved_bytes;
  job.reserved_bytes = 0;
  job.Rewind();
  metrics_->Running(-1);
  metrics_->Waiting(RequestKind::kQuestion, 1);
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
  if (!job.memory_wanted.has_value()) {
    job.memory_wanted = Clock::now();
  }
  if (!Reserve(bytes, &job, *job.memory_wanted)) {
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
  job.Begin(*std::move(branch), std::move(source));
  if (job.restore == nullptr) {
    job.Announce(*metrics_);
  }
}

}  // namespace longleaf::service
