// What comes before a document is read: its turn, its tokens, memory for its state, and what the
// store has of it already.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "service/engine_loop.h"
#include "service/errors.h"
#include "service/log.h"

namespace longleaf::service {
namespace {

using Stage = DocumentJob::Stage;

double Seconds(DocumentJob::Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

// Uploads that wait for one of the places of documents being read, the least served first.
void Engine::Loop::AdmitDocuments() {
  int64_t reading = 0;
  std::vector<DocumentJob*> queued;
  std::vector<const Flow*> flows;
  for (const auto& job : documents_) {
    if (!job->uploaded || job->cancelled) {
      continue;
    }
    if (job->stage == Stage::kQueued) {
      queued.push_back(job.get());
      flows.push_back(&job->flow);
    } else if (job->stage < Stage::kStoring) {
      ++reading;
    }
  }
  for (const size_t next : scheduler_.AdmissionOrder(WorkKind::kDocument, flows)) {
    if (reading++ < options_.max_reading_documents) {
      LoadTokens(*queued[next]);
    }
  }
}

void Engine::Loop::LoadTokens(DocumentJob& job) {
  job.stage = Stage::kLoading;
  job.loading_begun = DocumentJob::Clock::now();
  RunIo(job, [this, &job, name = job.name, uploaded = job.uploaded]() -> std::function<void()> {
    auto loaded =
        std::make_shared<absl::StatusOr<LoadedDocument>>(LoadDocument(*store_, *model_, name));
    if (uploaded && loaded->ok()) {
      // For people who look; what matters after a crash is only that it is not yet ACTIVE.
      RecordState(*store_, name, (*loaded)->record.serial, store::DocumentState::kPrefilling,
                  absl::OkStatus())
          .IgnoreError();
    }
    return [this, &job, loaded] { Loaded(job, std::move(*loaded)); };
  });
}

void Engine::Loop::Loaded(DocumentJob& job, absl::StatusOr<LoadedDocument> loaded) {
  if (job.cancelled) {
    return;
  }
  if (!loaded.ok()) {
    EndDocument(job, loaded.status());
    return;
  }
  job.loaded = *std::move(loaded);
  job.stored = job.loaded.snapshot;
  job.furthest = job.loaded.record.read_tokens;
  metrics_->StateLookup("disk", job.stored != nullptr ? "hit" : "miss");
  job.stage = Stage::kWaiting;
  BeginState(job);
}

void Engine::Loop::BeginState(DocumentJob& job) {
  const int64_t bytes = model_->MemoryForDocument(job.total());
  const int64_t capacity = model_->backend().memory().state_capacity_bytes;
  if (bytes > capacity) {
    EndDocument(job,
                WithDetails(absl::ResourceExhaustedError(
                                absl::StrCat("the document's state needs ", bytes,
                                             " bytes of memory, --state-memory is ", capacity)),
                            {.reason = reason::kOutOfMemory, .quota_subject = "state memory"}));
    return;
  }
  if (job.memory_wanted == DocumentJob::Clock::time_point()) {
    job.memory_wanted = DocumentJob::Clock::now();
  }
  if (!Reserve(bytes, &job, job.memory_wanted)) {
    return;  // asked again before the next step
  }
  job.reserved_bytes = bytes;
  metrics_->Waiting(RequestKind::kDocument, -1);
  metrics_->Running(1);
  metrics_->QueueSeconds(Seconds(DocumentJob::Clock::now() - job.queued));
  Restore(job);
}

void Engine::Loop::Restore(DocumentJob& job) {
  job.stage = Stage::kRestoring;
  absl::StatusOr<std::unique_ptr<kernels::State>> state = model_->transformer().NewState();
  if (!state.ok()) {
    EndDocument(job, state.status());
    return;
  }
  job.state = *std::move(state);
  if (job.stored == nullptr) {
    BeginReading(job);
    return;
  }
  const absl::StatusOr<StateRestorePtr> restore =
      PrepareRestore(*store_, *model_, job.stored, *job.state);
  job.restore = restore.ok() ? *restore : nullptr;
  RunIo(job, [this, &job, restore, snapshot = job.stored]() -> std::function<void()> {
    constexpr int kHelpers = 3;
    const absl::Status status =
        RestoreState(*store_, *metrics_, *snapshot, restore, *io_, kHelpers);
    store::SnapshotPtr next_best;
    if (!status.ok()) {
      next_best = FindSnapshot(*store_, *model_, job.name.tenant, job.loaded.tokens);
      if (next_best != nullptr && next_best->key() == snapshot->key()) {
        next_best = nullptr;  // it could not be dropped: do without
      }
    }
    return [this, &job, status, next_best] { Restored(job, status, next_best); };
  });
}

void Engine::Loop::RewindQuestionsOn(const StateRestorePtr& restore) {
  for (const auto& question : questions_) {
    if (restore != nullptr && question->restore == restore && !question->ended) {
      Rewind(*question);
    }
  }
}

void Engine::Loop::Restored(DocumentJob& job, const absl::Status& status,
                            store::SnapshotPtr next_best) {
  if (job.cancelled) {
    return;
  }
  if (!status.ok()) {
    log::Warn("stored state not used", {{"document", job.name.id}, {"error", status.ToString()}});
    RewindQuestionsOn(job.restore);
    job.restore = nullptr;
    job.state.reset();
    job.stored = std::move(next_best);
    Restore(job);
    return;
  }
  job.tokens_reused = job.state->tokens();
  const double seconds = Seconds(DocumentJob::Clock::now() - job.loading_begun);
  metrics_->StateLoadSeconds("disk", seconds);
  load_rate_ = 0.8 * load_rate_ + 0.2 * static_cast<double>(job.state->bytes()) / seconds;
  if (job.uploaded) {  // for a question, its start counts them
    metrics_->ReusedTokens(job.tokens_reused);
  }
  BeginReading(job);
}

void Engine::Loop::BeginReading(DocumentJob& job) {
  job.reading_begun = DocumentJob::Clock::now();
  job.stage = Stage::kReading;
  PlanCheckpoint(job);
  PostProgress(job);
  if (job.state->tokens() == job.total()) {
    BecomeLive(job);
  } else {
    job.restore = nullptr;
  }
}

}  // namespace longleaf::service
