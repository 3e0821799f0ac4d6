#include "service/engine_loop.h"

#include <algorithm>
#include <utility>

#include "service/errors.h"
#include "service/log.h"

namespace longleaf::service {
namespace {

// While questions run, cancels and deadlines are looked at this often even when no step runs.
constexpr std::chrono::milliseconds kTick(50);
constexpr std::chrono::seconds kPatience(1);  // of somebody who waits for memory

}  // namespace

void Engine::Loop::Bell::Ring() {
  MutexLock lock(&mutex);
  rung = true;
  condition.NotifyOne();
}

Engine::Loop::Loop(const EngineOptions& options, ServedModel* model, store::Store* store,
                   Executor* io, Metrics* metrics)
    : options_(options),
      model_(model),
      store_(store),
      io_(io),
      metrics_(metrics),
      scheduler_({.budget = {.max_tokens = options.prefill_chunk,
                             .min_tokens = options.min_prefill_chunk,
                             .max_slowdown = options.max_slowdown},
                  .max_step_tokens = model->max_step_tokens(),
                  .max_step_outputs = model->max_step_outputs()}) {
  thread_ = std::thread([this] { Run(); });
}

Engine::Loop::~Loop() {
  if (thread_.joinable()) {
    Drain(Clock::now());
  }
}

void Engine::Loop::Post(std::function<void()> command) {
  // The command may be the last: once it is there, the loop may end and go.
  const std::shared_ptr<Bell> bell = bell_;
  {
    MutexLock lock(&mutex_);
    commands_.push_back(std::move(command));
  }
  bell->Ring();
}

void Engine::Loop::Drain(Clock::time_point deadline) {
  {
    MutexLock lock(&mutex_);
    refusing_ = true;
  }
  Post([this, deadline] {
    draining_ = true;
    drain_deadline_ = deadline;
  });
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Engine::Loop::Run() {
  for (;;) {
    RunCommands();
    if (device_lost_) {
      GiveUp();
    }
    DropEndedQuestions();
    AdvanceDocuments();
    AdmitQuestions();
    PublishCounts();
    if (Done()) {
      break;
    }
    const Plan plan = Compose();
    if (!plan.members.empty()) {
      Step(plan);
    } else if (plan.work.empty()) {
      Wait();
    }
  }
}

void Engine::Loop::RunCommands() {
  std::deque<std::function<void()>> commands;
  {
    MutexLock lock(&mutex_);
    commands.swap(commands_);
  }
  for (const std::function<void()>& command : commands) {
    command();
  }
}

// Draining ends when no question runs, or at its deadline, and no io task is under way.
bool Engine::Loop::Done() {
  if (!draining_) {
    return false;
  }
  if (!questions_.empty() && Clock::now() >= drain_deadline_) {
    for (const auto& question : questions_) {
      EndQuestion(*question, WithDetails(absl::UnavailableError("the server is shutting down"),
                                         {.reason = reason::kDraining, .retry_seconds = 1}));
    }
    questions_.clear();
  }
  return questions_.empty() && documents_.empty();
}

void Engine::Loop::Wait() {
  for (const auto& question : questions_) {
    question->stream().Flush(Clock::time_point::max());  // nothing more comes for now
  }
  Clock::time_point until = Clock::time_point::max();
  if (!questions_.empty() || !documents_.empty()) {
    until = Clock::now() + kTick;
  }
  MutexLock lock(&bell_->mutex);
  while (!bell_->rung) {
    if (until == Clock::time_point::max()) {
      bell_->condition.Wait(&bell_->mutex);
    } else if (!bell_->condition.WaitUntil(&bell_->mutex, until)) {
      break;
    }
  }
  bell_->rung = false;
}

void Engine::Loop::PublishCounts() {
  int64_t queued = 0;
  for (const auto& job : documents_) {
    queued += job->waiting_to_be_read() ? 1 : 0;
  }
  queued_documents_.store(queued, std::memory_order_relaxed);
  const kernels::BackendMemory now = model_->backend().memory();
  state_bytes_.store(now.state_bytes, std::memory_order_relaxed);
  state_pool_bytes_.store(now.state_pool_bytes, std::memory_order_relaxed);
  weight_bytes_.store(now.weight_bytes, std::memory_order_relaxed);
  working_bytes_.store(now.activation_bytes, std::memory_order_relaxed);
  reserved_state_bytes_.store(reserved_bytes_ + cache_.bytes(), std::memory_order_relaxed);
  if (backlog_.knows()) {
    const Load load = CurrentLoad();
    question_slot_seconds_.store(backlog_.SecondsToQuestionSlot(load), std::memory_order_relaxed);
    document_slot_seconds_.store(backlog_.SecondsToDocumentSlot(load), std::memory_order_relaxed);
  }
}

Load Engine::Loop::CurrentLoad() const {
  Load load;
  load.max_answers = options_.max_running_questions;
  for (const auto& question : questions_) {
    if (question->ended) {
      continue;
    }
    load.answers += question->stage() == QuestionJob::Stage::kWaiting ? 0 : 1;
    load.waiting_questions += question->stage() == QuestionJob::Stage::kWaiting ? 1 : 0;
    load.question_tokens += question->tokens_to_read();
  }
  for (const auto& job : documents_) {
    const int64_t left = job->cancelled ? 0 : job->tokens_left();
    if (left > 0) {
      load.shortest_document_tokens =
          load.documents == 0 ? left : std::min(load.shortest_document_tokens, left);
      load.document_tokens += left;
      ++load.documents;
    }
  }
  return load;
}

Engine::Memory Engine::Loop::memory() const {
  return {state_bytes_.load(std::memory_order_relaxed),
          state_pool_bytes_.load(std::memory_order_relaxed),
          reserved_state_bytes_.load(std::memory_order_relaxed),
          weight_bytes_.load(std::memory_order_relaxed),
          working_bytes_.load(std::memory_order_relaxed)};
}

// Whoever needs much could wait for ever while those who need little take what becomes free. So the
// first to have waited for kPatience is the only one to get any; what runs ends, and then there is
// enough for it.
bool Engine::Loop::Reserve(int64_t bytes, const void* who, Clock::time_point since) {
  if (starving_ != nullptr && starving_ != who) {
    return false;
  }
  const int64_t capacity = model_->backend().memory().state_capacity_bytes;
  while (reserved_bytes_ + cache_.bytes() + bytes > capacity) {
    if (!cache_.EvictOne()) {
      if (Clock::now() - since > kPatience) {
        starving_ = who;
      }
      return false;
    }
    metrics_->MemoryStateEvicted();
  }
  ForgetWaiting(who);
  reserved_bytes_ += bytes;
  return true;
}

void Engine::Loop::ForgetWaiting(const void* who) {
  if (starving_ == who) {
    starving_ = nullptr;
  }
}

}  // namespace longleaf::service
