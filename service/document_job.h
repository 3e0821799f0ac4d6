// One document between its text and a state that has read all of it. Private to the engine.
#ifndef LONGLEAF_SERVICE_DOCUMENT_JOB_H_
#define LONGLEAF_SERVICE_DOCUMENT_JOB_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "cache_store/store.h"
#include "kernels/backend.h"
#include "service/document_io.h"
#include "service/scheduler/token_shares.h"
#include "service/state_cache.h"

namespace longleaf::service {

// A document on its way from text to a state in memory and on disk. Touched by the engine's thread
// alone; io tasks get copies of what they need.
struct DocumentJob {
  using Clock = std::chrono::steady_clock;
  enum class Stage {
    kQueued,     // nothing done
    kLoading,    // io: tokens and best snapshot
    kWaiting,    // for memory
    kRestoring,  // io: the snapshot into `state`
    kReading,    // in the steps
    kStoring,    // read whole and usable; io: the last snapshot
    kRecording,  // io: what became of it, into the document's record
    kUnsaved,    // read and recorded, in memory only: stored when the disk takes it again
  };

  store::DocumentName name;
  Flow flow;  // of the same name: who is charged for reading it
  Stage stage = Stage::kQueued;
  bool uploaded = false;   // has to become ACTIVE; else only read again for questions
  bool cancelled = false;  // deleted, or nobody waits for it any more
  bool in_io = false;      // an io task knows this job: it must stay
  bool saved_for_drain = false;
  bool recorded = false;        // its record says ACTIVE
  bool unsaved = false;         // the whole state could not be stored
  int64_t expected_tokens = 0;  // of the document, before `loaded` says
  LoadedDocument loaded;
  std::unique_ptr<kernels::State> state;  // until it is live
  StateRestorePtr restore;                // in kRestoring: what fills `state`
  std::shared_ptr<LiveDocument> live;
  std::weak_ptr<LiveDocument> unsaved_live;  // in kUnsaved: memory may let go of it
  std::unique_ptr<kernels::State> saving;    // the branch that is being stored
  store::SnapshotPtr stored;                 // the newest snapshot of these tokens
  bool stored_is_ours = false;  // a checkpoint of this reading: replaced by the next one
  int64_t reserved_bytes = 0;
  int64_t tokens_reused = 0;
  int64_t furthest = 0;  // token up to which it has ever been read
  // When the next checkpoint is due; whichever comes first. Counted from the last attempt, so that
  // a disk that takes none is not tried at every step.
  int64_t checkpoint_token = 0;
  Clock::time_point checkpoint_time;
  absl::Status outcome;  // to be recorded
  Clock::time_point retry_at;
  Clock::time_point queued = Clock::now();
  Clock::time_point memory_wanted;  // since when it waits for memory
  Clock::time_point loading_begun;
  Clock::time_point reading_begun;

  int64_t total() const { return static_cast<int64_t>(loaded.tokens.size()); }
  // Tokens still to be read, as far as is known.
  int64_t tokens_left() const {
    if (live != nullptr || stage >= Stage::kStoring) {
      return 0;
    }
    return state == nullptr ? std::max(total(), expected_tokens) : total() - state->tokens();
  }
  // Whether what is being restored is all of the document: questions may begin with it.
  bool restoring_whole() const {
    return stage == Stage::kRestoring && restore != nullptr && !cancelled &&
           stored->token_count() == total();
  }
  bool waiting_to_be_read() const { return uploaded && stage < Stage::kStoring && !cancelled; }
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_DOCUMENT_JOB_H_
