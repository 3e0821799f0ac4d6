// How the engine takes a document from its text to a state that has read all of it.

#include <algorithm>
#include <utility>

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

DocumentJob* Engine::Loop::FindJob(const store::DocumentName& name) {
  for (const auto& job : documents_) {
    if (job->name == name && !job->cancelled) {
      return job.get();
    }
  }
  return nullptr;
}

DocumentJob& Engine::Loop::AddJob(const store::DocumentName& name, bool uploaded) {
  documents_.push_back(std::make_unique<DocumentJob>());
  DocumentJob& job = *documents_.back();
  job.name = name;
  job.uploaded = uploaded;
  metrics_->Waiting(RequestKind::kDocument, 1);
  return job;
}

void Engine::Loop::ReadDocument(const store::DocumentName& name) {
  if (draining_) {
    return;  // its record says QUEUED: the next start reads it
  }
  if (DocumentJob* const job = FindJob(name)) {
    job->uploaded = true;
    return;
  }
  AddJob(name, /*uploaded=*/true);
}

void Engine::Loop::Forget(const store::DocumentName& name) {
  cache_.Erase(name);
  if (DocumentJob* const job = FindJob(name)) {
    job->cancelled = true;
  }
  board_.Remove(name);
  EndQuestionsOn(name, NoSuchDocument(name.id));
}

void Engine::Loop::RunIo(DocumentJob& job, std::function<std::function<void()>()> work) {
  job.in_io = true;
  io_->Run([this, &job, work = std::move(work)]() mutable {
    std::function<void()> then = work();
    // What `work` holds must be gone before the job may go.
    work = nullptr;
    Post([&job, then = std::move(then)] {
      job.in_io = false;
      then();
    });
  });
}

void Engine::Loop::AdvanceDocuments() {
  int64_t reading = 0;
  for (const auto& job : documents_) {
    reading +=
        job->uploaded && job->stage != Stage::kQueued && job->stage != Stage::kUnsaved ? 1 : 0;
  }
  for (auto it = documents_.begin(); it != documents_.end();) {
    DocumentJob& job = **it;
    if (!job.uploaded && job.live == nullptr && !AnyoneWaitsFor(job.name)) {
      job.cancelled = true;  // every question that wanted it is gone
    }
    if (draining_ && !job.in_io && !job.cancelled) {
      StopForDrain(job);
    }
    if (job.cancelled && !job.in_io) {
      if (job.stage <= Stage::kWaiting) {
        metrics_->Waiting(RequestKind::kDocument, -1);
      } else if (job.stage != Stage::kUnsaved) {
        metrics_->Running(-1);
      }
      ReleaseMemory(job);
      if (job.recorded && job.stage != Stage::kUnsaved) {
        board_.PostLast(job.name,
                        {store::DocumentState::kActive, ProgressOf(job), job.loaded.record.serial});
      } else if (!job.recorded) {
        board_.Remove(job.name);
      }
      it = documents_.erase(it);
      continue;
    }
    ++it;
    if (job.cancelled || job.in_io) {
      continue;
    }
    switch (job.stage) {
      case Stage::kQueued:
        PostProgress(job);
        if (!job.uploaded || reading < options_.max_reading_documents) {
          reading += job.uploaded ? 1 : 0;
          Load(job);
        }
        break;
      case Stage::kWaiting:
        BeginState(job);
        break;
      case Stage::kStoring:
        Save(job);
        break;
      case Stage::kRecording:
        if (draining_ || DocumentJob::Clock::now() >= job.retry_at) {
          Record(job);
        }
        break;
      case Stage::kUnsaved:
        if (job.unsaved_live.expired()) {
          job.cancelled = true;  // gone from memory, too: the next question has it read again
        } else if (DocumentJob::Clock::now() >= job.retry_at) {
          SaveUnsaved(job);
        }
        break;
      case Stage::kLoading:
      case Stage::kRestoring:
      case Stage::kReading:
        break;
    }
  }
}

// A draining engine finishes what only has to be written. What has been read of the others is
// stored once more, so that it is not read again after the restart.
void Engine::Loop::StopForDrain(DocumentJob& job) {
  if (job.stage == Stage::kStoring || job.stage == Stage::kRecording) {
    return;
  }
  if (job.stage == Stage::kUnsaved && !job.saved_for_drain) {
    job.saved_for_drain = true;
    SaveUnsaved(job);
    return;
  }
  const int64_t stored = job.stored != nullptr ? job.stored->token_count() : 0;
  if (job.stage == Stage::kReading && job.state->tokens() > stored && !job.saved_for_drain) {
    job.saved_for_drain = true;
    Save(job);
    return;
  }
  job.cancelled = true;
}

void Engine::Loop::Load(DocumentJob& job) {
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
  if (!Reserve(bytes)) {
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
  const absl::Status prepared = PrepareRestore(*model_, *job.stored, *job.state);
  RunIo(job,
        [this, &job, prepared, snapshot = job.stored,
         state_to_fill = job.state.get()]() -> std::function<void()> {
          const absl::Status status =
              RestoreState(*store_, *model_, *metrics_, *snapshot, prepared, *state_to_fill);
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

void Engine::Loop::Restored(DocumentJob& job, const absl::Status& status,
                            store::SnapshotPtr next_best) {
  if (job.cancelled) {
    return;
  }
  if (!status.ok()) {
    log::Warn("stored state not used", {{"document", job.name.id}, {"error", status.ToString()}});
    job.state.reset();
    job.stored = std::move(next_best);
    Restore(job);
    return;
  }
  job.tokens_reused = job.state->tokens();
  metrics_->StateLoadSeconds("disk", Seconds(DocumentJob::Clock::now() - job.loading_begun));
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
  }
}

// Gives its memory back; goes on from the last checkpoint when there is room again.
void Engine::Loop::Requeue(DocumentJob& job) {
  job.state.reset();
  job.stage = Stage::kWaiting;
  ReleaseMemory(job);
  metrics_->Running(-1);
  metrics_->Waiting(RequestKind::kDocument, 1);
}

void Engine::Loop::PlanCheckpoint(DocumentJob& job) {
  job.checkpoint_token = job.state->tokens() + options_.checkpoint_tokens;
  job.checkpoint_time =
      DocumentJob::Clock::now() + std::chrono::duration_cast<DocumentJob::Clock::duration>(
                                      std::chrono::duration<double>(options_.checkpoint_seconds));
}

void Engine::Loop::DocumentAdvanced(DocumentJob& job, int64_t rows) {
  const int64_t done = job.state->tokens();
  metrics_->DocumentTokens(rows);
  metrics_->RereadTokens(std::clamp<int64_t>(job.furthest - (done - rows), 0, rows));
  if (done > job.furthest) {
    job.furthest = done;
    store_->NoteRead(job.name.tenant, job.name.id, job.loaded.record.serial, done);
  }
  PostProgress(job);
  if (done == job.total()) {
    BecomeLive(job);
    return;
  }
  if (!job.in_io &&
      (done >= job.checkpoint_token || DocumentJob::Clock::now() >= job.checkpoint_time)) {
    PlanCheckpoint(job);
    Save(job);
  }
}

void Engine::Loop::ReleaseMemory(DocumentJob& job) {
  reserved_bytes_ -= job.reserved_bytes;
  job.reserved_bytes = 0;
}

// Of the document, without BOS and preamble.
Progress Engine::Loop::ProgressOf(const DocumentJob& job) const {
  const int64_t prefix = model_->prefix_tokens();
  const int64_t done = job.live != nullptr    ? job.total()
                       : job.state != nullptr ? job.state->tokens()
                                              : 0;
  Progress progress;
  progress.tokens_total = std::max<int64_t>(0, job.total() - prefix);
  progress.tokens_done = std::max<int64_t>(0, done - prefix);
  progress.tokens_reused = std::max<int64_t>(0, job.tokens_reused - prefix);
  const double seconds = Seconds(DocumentJob::Clock::now() - job.reading_begun);
  if (job.live != nullptr) {
    progress.eta_seconds = 0;
  } else if (done > job.tokens_reused && seconds > 0) {
    progress.eta_seconds = seconds * static_cast<double>(job.total() - done) /
                           static_cast<double>(done - job.tokens_reused);
  }
  return progress;
}

void Engine::Loop::PostProgress(DocumentJob& job) {
  ProgressBoard::Entry entry;
  entry.state = job.stage == Stage::kReading || job.stage == Stage::kStoring
                    ? store::DocumentState::kPrefilling
                    : store::DocumentState::kQueued;
  entry.progress = ProgressOf(job);
  entry.serial = job.loaded.record.serial;
  const std::optional<ProgressBoard::Entry> before = board_.Find(job.name);
  if (before.has_value() && before->state == entry.state && before->serial == entry.serial &&
      before->progress.tokens_done == entry.progress.tokens_done &&
      before->progress.tokens_total == entry.progress.tokens_total) {
    return;
  }
  board_.Post(job.name, entry);
  for (const auto& question : questions_) {
    if (question->stage() == QuestionJob::Stage::kWaiting &&
        question->request().document == job.name) {
      question->stream().Push(entry.progress);
    }
  }
}

}  // namespace longleaf::service
