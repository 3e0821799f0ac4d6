// How the engine takes a document from text to a state in memory and on disk.

#include <algorithm>
#include <utility>

#include "service/engine_loop.h"
#include "service/errors.h"
#include "service/log.h"

namespace longleaf::service {
namespace {

using Stage = DocumentJob::Stage;

constexpr std::chrono::seconds kRetryAfter(2);  // for a store that does not take a record

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
    reading += job->uploaded && job->stage != Stage::kQueued ? 1 : 0;
  }
  for (auto it = documents_.begin(); it != documents_.end();) {
    DocumentJob& job = **it;
    if (!job.uploaded && job.live == nullptr && !AnyoneWaitsFor(job.name)) {
      job.cancelled = true;  // every question that wanted it is gone
    }
    if (draining_ && job.stage == Stage::kReading && !job.in_io && job.state != nullptr &&
        job.state->tokens() > (job.stored ? job.stored->token_count() : 0) && !job.cancelled) {
      Save(job);  // what has been read is not read again after the restart
    }
    if (draining_ && job.stage != Stage::kStoring && job.stage != Stage::kRecording) {
      job.cancelled = true;
    }
    if (job.cancelled && !job.in_io) {
      if (job.stage <= Stage::kWaiting) {
        metrics_->Waiting(RequestKind::kDocument, -1);
      } else {
        metrics_->Running(-1);
      }
      ReleaseMemory(job);
      board_.Remove(job.name);
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
        if (DocumentJob::Clock::now() >= job.retry_at) {
          Record(job);
        }
        break;
      case Stage::kLoading:
      case Stage::kRestoring:
      case Stage::kReading:
        break;
    }
  }
}

void Engine::Loop::Load(DocumentJob& job) {
  job.stage = Stage::kLoading;
  job.loading_begun = DocumentJob::Clock::now();
  RunIo(job, [this, &job, name = job.name, uploaded = job.uploaded]() -> std::function<void()> {
    auto loaded =
        std::make_shared<absl::StatusOr<LoadedDocument>>(LoadDocument(*store_, *model_, name));
    if (uploaded && loaded->ok()) {
      // For people who look; what matters after a crash is only that it is not yet ACTIVE.
      store_
          ->UpdateDocument(name.tenant, name.id,
                           [](store::DocumentRecord& record) {
                             record.state = store::DocumentState::kPrefilling;
                             return absl::OkStatus();
                           })
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
  metrics_->ReusedTokens(job.tokens_reused);
  BeginReading(job);
}

void Engine::Loop::BeginReading(DocumentJob& job) {
  job.reading_begun = DocumentJob::Clock::now();
  job.stage = Stage::kReading;
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

void Engine::Loop::DocumentAdvanced(DocumentJob& job, int64_t rows) {
  metrics_->DocumentTokens(rows);
  PostProgress(job);
  if (job.state->tokens() == job.total()) {
    BecomeLive(job);
    return;
  }
  const int64_t stored = job.stored != nullptr ? job.stored->token_count() : 0;
  if (!job.in_io && job.state->tokens() - stored >= options_.checkpoint_tokens) {
    Save(job);
  }
}

void Engine::Loop::BecomeLive(DocumentJob& job) {
  const auto now = DocumentJob::Clock::now();
  const int64_t read = job.total() - job.tokens_reused;
  if (read > 0) {
    metrics_->PrefillSeconds(Seconds(now - job.reading_begun));
    document_seconds_.store(0.7 * document_seconds_.load() +
                            0.3 * Seconds(now - job.reading_begun));
  }
  auto live = std::make_shared<LiveDocument>();
  live->name = job.name;
  live->state = std::move(job.state);
  live->token_ends = job.loaded.token_ends;
  live->tier = read == 0 ? StateTier::kDisk : StateTier::kPrefill;
  live->tokens_reused = job.tokens_reused;
  live->tokens_prefilled = read;
  live->seconds = Seconds(now - job.loading_begun);
  job.live = live;
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
  } else if (!job.cancelled) {
    // The text is durable and the state is in memory: the document can be asked, and costs another
    // prefill should the state have to go.
    log::Warn("state not stored",
              {{"document", job.name.id}, {"error", snapshot.status().ToString()}});
    metrics_->StateRejected("not_stored");
  }
  if (whole && !job.cancelled) {
    EndDocument(job, absl::OkStatus());
  }
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
    job.cancelled = true;  // nothing to record
    return;
  }
  if (!job.in_io) {
    Record(job);
  }
}

void Engine::Loop::Record(DocumentJob& job) {
  RunIo(job, [this, &job, name = job.name, outcome = job.outcome]() -> std::function<void()> {
    const absl::Status status =
        store_
            ->UpdateDocument(name.tenant, name.id,
                             [&outcome](store::DocumentRecord& record) {
                               record.state = outcome.ok() ? store::DocumentState::kActive
                                                           : store::DocumentState::kFailed;
                               record.failure_code = static_cast<int32_t>(outcome.code());
                               record.failure_message = std::string(outcome.message());
                               return absl::OkStatus();
                             })
            .status();
    return [this, &job, status] {
      if (status.ok() || absl::IsNotFound(status) || absl::IsDataLoss(status) || draining_) {
        job.cancelled = true;
      } else {
        job.retry_at = DocumentJob::Clock::now() + kRetryAfter;
      }
    };
  });
}

void Engine::Loop::ReleaseMemory(DocumentJob& job) {
  reserved_bytes_ -= job.reserved_bytes;
  job.reserved_bytes = 0;
}

void Engine::Loop::PostProgress(DocumentJob& job) {
  ProgressBoard::Entry entry;
  entry.state = job.stage == Stage::kReading || job.stage == Stage::kStoring
                    ? store::DocumentState::kPrefilling
                    : store::DocumentState::kQueued;
  // Of the document, without BOS and preamble.
  const int64_t prefix = model_->prefix_tokens();
  const int64_t done = job.state != nullptr ? job.state->tokens() : 0;
  entry.progress.tokens_total = std::max<int64_t>(0, job.total() - prefix);
  entry.progress.tokens_done = std::max<int64_t>(0, done - prefix);
  entry.progress.tokens_reused = std::max<int64_t>(0, job.tokens_reused - prefix);
  const double seconds = Seconds(DocumentJob::Clock::now() - job.reading_begun);
  if (done > job.tokens_reused && seconds > 0) {
    entry.progress.eta_seconds = seconds * static_cast<double>(job.total() - done) /
                                 static_cast<double>(done - job.tokens_reused);
  }
  const std::optional<ProgressBoard::Entry> before = board_.Find(job.name);
  if (before.has_value() && before->state == entry.state &&
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
