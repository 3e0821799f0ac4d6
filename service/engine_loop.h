// The engine's thread: its jobs, its steps. Private to the engine; engine.h is the door.
#ifndef LONGLEAF_SERVICE_ENGINE_LOOP_H_
#define LONGLEAF_SERVICE_ENGINE_LOOP_H_

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "kernels/mutex.h"
#include "service/document_io.h"
#include "service/engine.h"
#include "service/question_job.h"
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
  Stage stage = Stage::kQueued;
  bool uploaded = false;   // has to become ACTIVE; else only read again for questions
  bool cancelled = false;  // deleted, or nobody waits for it any more
  bool in_io = false;      // an io task knows this job: it must stay
  bool saved_for_drain = false;
  bool recorded = false;  // its record says ACTIVE
  bool unsaved = false;   // the whole state could not be stored
  LoadedDocument loaded;
  std::unique_ptr<kernels::State> state;  // until it is live
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
  Clock::time_point loading_begun;
  Clock::time_point reading_begun;

  int64_t total() const { return static_cast<int64_t>(loaded.tokens.size()); }
  bool waiting_to_be_read() const { return uploaded && stage < Stage::kStoring && !cancelled; }
};

class Engine::Loop {
 public:
  using Clock = std::chrono::steady_clock;

  Loop(const EngineOptions& options, ServedModel* model, store::Store* store, Executor* io,
       Metrics* metrics);
  ~Loop();

  // ---- any thread
  // Runs `command` on the engine's thread between two steps.
  void Post(std::function<void()> command);
  absl::Status Ask(QuestionRequest request, std::shared_ptr<AnswerStream> stream);
  void Drain(Clock::time_point deadline);
  ProgressBoard& board() { return board_; }
  int64_t queued_documents() const { return queued_documents_.load(std::memory_order_relaxed); }
  double SecondsUntilRoomForDocument() const;
  int64_t state_bytes() const { return state_bytes_.load(std::memory_order_relaxed); }

  // ---- the engine's thread: commands
  void ReadDocument(const store::DocumentName& name);
  void Forget(const store::DocumentName& name);

 private:
  // One member of the step being composed.
  struct Member {
    QuestionJob* question = nullptr;  // or
    DocumentJob* document = nullptr;
    int64_t rows = 0;
    int64_t outputs = 0;
  };

  // Wakes the thread; may be called (by a stream) after the loop is gone, so it is shared.
  struct Bell {
    Mutex mutex;
    CondVar condition;
    bool rung ABSL_GUARDED_BY(mutex) = false;
    void Ring();
  };

  // engine_loop.cc
  void Run();
  void RunCommands();
  bool Done();
  void Wait();
  std::vector<Member> Compose();
  void Step(std::vector<Member> members);
  void StepFailed(const absl::Status& status, const std::vector<Member>& members);
  bool Reserve(int64_t bytes);
  void PublishCounts();

  // engine_questions.cc
  void AdmitQuestions();
  void Admit(QuestionJob& job);
  void AnswerPartially(QuestionJob& job, DocumentJob& document);
  bool Reserve(QuestionJob& job, const kernels::State& parent);
  void Start(QuestionJob& job, const kernels::State& parent, QuestionJob::Source source);
  void DropEndedQuestions();
  void EndQuestion(QuestionJob& job, const absl::Status& status);
  void EndQuestionsOn(const store::DocumentName& name, const absl::Status& status);
  bool AnyoneWaitsFor(const store::DocumentName& name) const;

  // engine_documents.cc
  DocumentJob* FindJob(const store::DocumentName& name);
  DocumentJob& AddJob(const store::DocumentName& name, bool uploaded);
  void AdvanceDocuments();
  // Runs `work` on the io executor, then what it returns on this thread. The job stays meanwhile.
  void RunIo(DocumentJob& job, std::function<std::function<void()>()> work);
  void StopForDrain(DocumentJob& job);
  void Load(DocumentJob& job);
  void Loaded(DocumentJob& job, absl::StatusOr<LoadedDocument> loaded);
  void BeginState(DocumentJob& job);
  void Restore(DocumentJob& job);
  void Restored(DocumentJob& job, const absl::Status& status, store::SnapshotPtr next_best);
  void BeginReading(DocumentJob& job);
  void Requeue(DocumentJob& job);
  void DocumentAdvanced(DocumentJob& job, int64_t rows);
  void BecomeLive(DocumentJob& job);
  void Save(DocumentJob& job);
  void Saved(DocumentJob& job, const absl::StatusOr<store::SnapshotPtr>& snapshot, bool whole);
  void EndDocument(DocumentJob& job, const absl::Status& outcome);
  void Record(DocumentJob& job);
  void ReleaseMemory(DocumentJob& job);
  Progress ProgressOf(const DocumentJob& job) const;
  void PostProgress(DocumentJob& job);
  void PlanCheckpoint(DocumentJob& job);
  void KeepUnsaved(DocumentJob& job);
  void SaveUnsaved(DocumentJob& job);

  const EngineOptions options_;
  ServedModel* const model_;
  store::Store* const store_;
  Executor* const io_;
  Metrics* const metrics_;
  ProgressBoard board_;

  const std::shared_ptr<Bell> bell_ = std::make_shared<Bell>();
  mutable Mutex mutex_;
  std::deque<std::function<void()>> commands_ ABSL_GUARDED_BY(mutex_);
  int64_t open_questions_ ABSL_GUARDED_BY(mutex_) = 0;
  bool refusing_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<int64_t> queued_documents_{0};
  std::atomic<int64_t> state_bytes_{0};
  std::atomic<double> document_seconds_{1};  // running means: how long one takes
  std::atomic<double> question_seconds_{1};

  // ---- the engine's thread's own
  std::list<std::unique_ptr<DocumentJob>> documents_;  // oldest first
  std::list<std::unique_ptr<QuestionJob>> questions_;
  StateCache cache_;
  int64_t reserved_bytes_ = 0;  // promised to jobs
  int64_t io_running_ = 0;
  size_t next_document_ = 0;  // whose turn it is when a step cannot take all
  bool stopping_ = false;
  bool draining_ = false;
  Clock::time_point drain_deadline_;

  std::thread thread_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_ENGINE_LOOP_H_
