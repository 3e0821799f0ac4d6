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
#include "service/document_job.h"
#include "service/engine.h"
#include "service/question_job.h"
#include "service/scheduler/backlog.h"
#include "service/scheduler/scheduler.h"
#include "service/state_cache.h"

namespace longleaf::service {

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
  double SecondsUntilRoomForDocument() const { return document_slot_seconds_.load(); }
  Memory memory() const;

  // ---- the engine's thread: commands
  void ReadDocument(const store::DocumentName& name, int64_t tokens);
  void Forget(const store::DocumentName& name);

 private:
  // One that takes part in a step.
  struct Member {
    QuestionJob* question = nullptr;  // or
    DocumentJob* document = nullptr;
    int64_t rows = 0;
    int64_t outputs = 0;
  };
  // A step before it runs: who could take part, as the scheduler saw it, and who does.
  struct Plan {
    std::vector<Work> work;
    std::vector<Share> shares;
    std::vector<Member> members;  // [shares]
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
  void PublishCounts();
  Load CurrentLoad() const;
  // Takes `bytes` of the memory for states for `who`, which has wanted them since `since`; lets go
  // of states that can come back. False: there is not so much; who has waited long goes first.
  bool Reserve(int64_t bytes, const void* who, Clock::time_point since);
  void ForgetWaiting(const void* who);

  // engine_steps.cc
  class RestoreWait;
  bool AnyoneReady() const;
  bool MayJoin(const QuestionJob& question, bool others) const;
  Plan Compose();
  void Step(const Plan& plan);
  std::vector<model::ForwardItem> ItemsOf(const std::vector<Member>& members);
  absl::Status Advance(const std::vector<Member>& members, const kernels::Tensor& logits);
  void StepFailed(const absl::Status& status, const std::vector<Member>& members);
  void GiveUp();

  // engine_admission.cc
  void AdmitQuestions();
  // `document`: the job of the question's document, or null.
  void Admit(QuestionJob& job, DocumentJob* document, bool may_start);
  bool RefusedForItsDeadline(QuestionJob& job, const DocumentJob* document);
  void AnswerPartially(QuestionJob& job, DocumentJob& document);
  void StartWhileRestoring(QuestionJob& job, DocumentJob& document);
  void Rewind(QuestionJob& job);
  bool Reserve(QuestionJob& job, const kernels::State& parent);
  void Start(QuestionJob& job, const kernels::State& parent, QuestionJob::Source source);

  // engine_questions.cc
  void DropEndedQuestions();
  void EndQuestion(QuestionJob& job, const absl::Status& status);
  void EndQuestionsOn(const store::DocumentName& name, const absl::Status& status);
  bool AnyoneWaitsFor(const store::DocumentName& name) const;

  // engine_documents.cc
  DocumentJob* FindJob(const store::DocumentName& name);
  DocumentJob& AddJob(const store::DocumentName& name, bool uploaded);
  void AdvanceDocuments();
  void Advance(DocumentJob& job);
  // Runs `work` on the io executor, then what it returns on this thread. The job stays meanwhile.
  void RunIo(DocumentJob& job, std::function<std::function<void()>()> work);
  void StopForDrain(DocumentJob& job);

  // engine_loading.cc
  void AdmitDocuments();
  void LoadTokens(DocumentJob& job);
  void Loaded(DocumentJob& job, absl::StatusOr<LoadedDocument> loaded);
  void BeginState(DocumentJob& job);
  void Restore(DocumentJob& job);
  void RewindQuestionsOn(const StateRestorePtr& restore);
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
  std::atomic<int64_t> state_pool_bytes_{0};
  std::atomic<int64_t> reserved_state_bytes_{0};
  std::atomic<int64_t> weight_bytes_{0};
  std::atomic<int64_t> working_bytes_{0};
  // What somebody who is refused is told: when there will be a place.
  std::atomic<double> document_slot_seconds_{1};
  std::atomic<double> question_slot_seconds_{1};

  // ---- the engine's thread's own
  std::list<std::unique_ptr<DocumentJob>> documents_;  // oldest first
  std::list<std::unique_ptr<QuestionJob>> questions_;
  StateCache cache_;
  int64_t reserved_bytes_ = 0;  // promised to jobs
  int64_t io_running_ = 0;
  Scheduler scheduler_;
  Backlog backlog_;
  double load_rate_ = 1e9;          // bytes of states loaded in a second, as of late
  const void* starving_ = nullptr;  // the job that has waited too long for memory, if any
  bool stopping_ = false;
  bool draining_ = false;
  bool device_lost_ = false;
  Clock::time_point drain_deadline_;

  std::thread thread_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_ENGINE_LOOP_H_
