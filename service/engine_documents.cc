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
  job.flow = {name.tenant, name.id};
  job.uploaded = uploaded;
  metrics_->Waiting(RequestKind::kDocument, 1);
  return job;
}

void Engine::Loop::ReadDocument(const store::DocumentName& name, int64_t tokens) {
  if (draining_) {
    return;  // its record says QUEUED: the next start reads it
  }
  if (DocumentJob* const job = FindJob(name)) {
    job->uploaded = true;
    return;
  }
  AddJob(name, /*uploaded=*/true).expected_tokens = std::max<int64_t>(1, tokens);
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
  for (auto it = documents_.begin(); it != documents_.end();) {
    DocumentJob& job = **it;
    const bool loaded = job.restoring_whole() && job.restore->Finished();
    if (!job.uploaded && job.live == nullptr && !loaded && !AnyoneWaitsFor(job.name)) {
      job.cancelled = true;  // every question that wanted it is gone
    }
    if (job.cancelled && job.restore != nullptr) {
      job.restore->Cancel();
    }
    if (draining_ && !job.in_io && !job.cancelled) {
      StopForDrain(job);
    }
    if (!job.cancelled || job.in_io) {
      ++it;
      if (!job.cancelled && !job.in_io) {
        Advance(job);
      }
      continue;
    }
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
  }
  AdmitDocuments();
}

// What a document needs between steps.
void Engine::Loop::Advance(DocumentJob& job) {
  switch (job.stage) {
    case Stage::kQueued:
      PostProgress(job);
      if (!job.uploaded) {
        LoadTokens(job);  // somebody waits for an answer
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
  ForgetWaiting(&job);
  job.memory_wanted = {};
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
