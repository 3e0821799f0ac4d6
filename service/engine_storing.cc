// How the engine makes a document's state durable, and records what became of the document.

#include <utility>

#include "service/engine_loop.h"
#include "service/errors.h"
#include "service/log.h"

namespace longleaf::service {
namespace {

using Stage = DocumentJob::Stage;

constexpr std::chrono::seconds kRetryAfter(2);  // for a store that does not take a record or state

double Seconds(DocumentJob::Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

void Engine::Loop::BecomeLive(DocumentJob& job) {
  const auto now = DocumentJob::Clock::now();
  const int64_t read = job.total() - job.tokens_reused;
  if (read > 0) {
    metrics_->PrefillSeconds(Seconds(now - job.reading_begun));
  }
  auto live = std::make_shared<LiveDocument>();
  live->name = job.name;
  live->state = std::move(job.state);
  live->token_ends = job.loaded.token_ends;
  live->tier = read == 0 ? StateTier::kDisk : StateTier::kPrefill;
  live->tokens_reused = job.tokens_reused;
  live->tokens_prefilled = read;
  live->seconds = Seconds(now - job.loading_begun);
  live->reload_seconds =
      read == 0 ? Seconds(job.reading_begun - job.loading_begun) : Seconds(now - job.reading_begun);
  job.live = live;
  for (const auto& question : questions_) {
    if (job.restore != nullptr && question->restore == job.restore) {
      question->document = live;
      question->restore = nullptr;
    }
  }
  job.restore = nullptr;
  cache_.Insert(std::move(live));
  ReleaseMemory(job);
  job.stage = Stage::kStoring;
  if (!job.in_io) {  // else Saved comes first
    Save(job);
  }
}

// Stores a branch of the state as it is now, while reading goes on. In kStoring, the whole.
void Engine::Loop::Save(DocumentJob& job) {
  const kernels::State* const state = job.live != nullptr ? job.live->state.get() : job.state.get();
  const bool whole = state->tokens() == job.total();
  if (whole && job.stored != nullptr && job.stored->token_count() == job.total()) {
    EndDocument(job, absl::OkStatus());  // it came from there
    return;
  }
  absl::StatusOr<std::unique_ptr<kernels::State>> branch = model_->backend().Branch(*state);
  if (!branch.ok()) {
    Saved(job, branch.status(), whole);
    return;
  }
  job.saving = *std::move(branch);
  SaveRequest request;
  request.document = job.name;
  request.tokens.assign(job.loaded.tokens.begin(),
                        job.loaded.tokens.begin() + static_cast<std::ptrdiff_t>(state->tokens()));
  request.state = job.saving.get();
  request.base = job.stored;
  request.replace_base = job.stored_is_ours;
  RunIo(job, [this, &job, request = std::move(request), whole]() -> std::function<void()> {
    const absl::StatusOr<store::SnapshotPtr> snapshot =
        SaveState(*store_, *model_, *metrics_, request);
    return [this, &job, snapshot, whole] { Saved(job, snapshot, whole); };
  });
}

void Engine::Loop::Saved(DocumentJob& job, const absl::StatusOr<store::SnapshotPtr>& snapshot,
                         bool whole) {
  job.saving.reset();
  if (snapshot.ok()) {
    job.stored = *snapshot;
    job.stored_is_ours = true;
    const std::shared_ptr<LiveDocument> live =
        job.live != nullptr ? job.live : job.unsaved_live.lock();
    if (whole && live != nullptr) {
      live->reload_seconds = static_cast<double>(live->state->bytes()) / load_rate_;
    }
  } else if (!job.cancelled) {
    // The text is durable and the state is in memory: the document can be asked, and costs another
    // prefill should the state have to go.
    log::Warn("state not stored",
              {{"document", job.name.id}, {"error", snapshot.status().ToString()}});
    metrics_->StateSaveFailed();
  }
  if (!whole || job.cancelled) {
    return;
  }
  job.unsaved = !snapshot.ok();
  if (job.stage != Stage::kUnsaved) {
    EndDocument(job, absl::OkStatus());
  } else if (job.unsaved && !draining_) {
    job.retry_at = DocumentJob::Clock::now() + kRetryAfter;
  } else {
    job.cancelled = true;
  }
}

// The document is read and can be asked, but its state is in memory alone. The job stays, to store
// it when the disk takes it.
void Engine::Loop::KeepUnsaved(DocumentJob& job) {
  metrics_->Running(-1);
  board_.PostLast(job.name,
                  {store::DocumentState::kActive, ProgressOf(job), job.loaded.record.serial});
  job.recorded = true;
  job.stage = Stage::kUnsaved;
  job.unsaved_live = job.live;
  job.live.reset();
  job.retry_at = DocumentJob::Clock::now() + kRetryAfter;
}

void Engine::Loop::SaveUnsaved(DocumentJob& job) {
  job.live = job.unsaved_live.lock();
  if (job.live == nullptr) {
    job.cancelled = true;
    return;
  }
  Save(job);
  job.live.reset();
}

// The document is read, or never will be. Questions that wait for it are told; an uploaded one gets
// it into its record.
void Engine::Loop::EndDocument(DocumentJob& job, const absl::Status& outcome) {
  if (!outcome.ok()) {
    log::Warn("document not read", {{"document", job.name.id}, {"error", outcome.ToString()}});
    EndQuestionsOn(job.name, outcome);
  }
  if (job.stage <= Stage::kWaiting) {
    metrics_->Waiting(RequestKind::kDocument, -1);
    metrics_->Running(1);
  }
  ReleaseMemory(job);
  job.state.reset();
  job.outcome = outcome;
  job.stage = Stage::kRecording;
  metrics_->Finished(RequestKind::kDocument, outcome.ok() ? "read" : "failed");
  metrics_->RequestSeconds(RequestKind::kDocument, Seconds(DocumentJob::Clock::now() - job.queued));
  if (!job.uploaded || absl::IsNotFound(outcome)) {
    if (outcome.ok() && job.unsaved && !draining_) {
      KeepUnsaved(job);
    } else {
      job.cancelled = true;  // nothing to record
    }
    return;
  }
  if (!job.in_io) {
    Record(job);
  }
}

void Engine::Loop::Record(DocumentJob& job) {
  RunIo(job,
        [this, &job, name = job.name, serial = job.loaded.record.serial,
         outcome = job.outcome]() -> std::function<void()> {
          const absl::Status status = RecordState(
              *store_, name, serial,
              outcome.ok() ? store::DocumentState::kActive : store::DocumentState::kFailed,
              outcome);
          return [this, &job, status] {
            if (status.ok() || absl::IsNotFound(status) || absl::IsDataLoss(status) || draining_) {
              job.recorded = status.ok() && job.outcome.ok();
              if (job.recorded && job.unsaved && !draining_ && !job.cancelled) {
                KeepUnsaved(job);
              } else {
                job.cancelled = true;
              }
            } else {
              job.retry_at = DocumentJob::Clock::now() + kRetryAfter;
            }
          };
        });
}

}  // namespace longleaf::service
