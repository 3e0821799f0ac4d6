#include "service/engine_loop.h"

#include <algorithm>
#include <utility>

#include "service/errors.h"
#include "service/log.h"

namespace longleaf::service {
namespace {

// While questions run, cancels and deadlines are looked at this often even when no step runs.
constexpr std::chrono::milliseconds kTick(50);

}  // namespace

void Engine::Loop::Bell::Ring() {
  MutexLock lock(&mutex);
  rung = true;
  condition.NotifyOne();
}

Engine::Loop::Loop(const EngineOptions& options, ServedModel* model, store::Store* store,
                   Executor* io, Metrics* metrics)
    : options_(options), model_(model), store_(store), io_(io), metrics_(metrics) {
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

double Engine::Loop::SecondsUntilRoomForDocument() const {
  return document_seconds_.load(std::memory_order_relaxed);
}

void Engine::Loop::Run() {
  for (;;) {
    RunCommands();
    DropEndedQuestions();
    AdvanceDocuments();
    AdmitQuestions();
    PublishCounts();
    if (Done()) {
      break;
    }
    std::vector<Member> members = Compose();
    if (members.empty()) {
      Wait();
    } else {
      Step(std::move(members));
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

std::vector<Engine::Loop::Member> Engine::Loop::Compose() {
  std::vector<Member> members;
  int64_t budget = model_->max_step_tokens();
  int64_t outputs = 0;
  bool questions_run = false;
  for (const QuestionJob::Stage stage :
       {QuestionJob::Stage::kAnswering, QuestionJob::Stage::kReading}) {
    for (const auto& question : questions_) {
      if (question->stage() != stage) {
        continue;
      }
      questions_run = true;
      const int64_t rows = question->RowsWanted(budget);
      if (rows > 0 && outputs < model_->max_step_outputs()) {
        outputs += question->WantsOutput(rows) ? 1 : 0;
        members.push_back({.question = question.get(),
                           .rows = rows,
                           .outputs = question->WantsOutput(rows) ? 1 : 0});
        budget -= rows;
      }
    }
  }
  std::vector<DocumentJob*> reading;
  for (const auto& job : documents_) {
    if (job->stage == DocumentJob::Stage::kReading && !job->cancelled && !draining_) {
      reading.push_back(job.get());
    }
  }
  budget = std::min(budget, questions_run ? options_.interleaved_chunk : options_.prefill_chunk);
  for (size_t i = 0; i < reading.size() && budget > 0; ++i) {
    // Equal shares; whoever comes first this time comes last the next.
    DocumentJob* const job = reading[(next_document_ + i) % reading.size()];
    const int64_t others = static_cast<int64_t>(reading.size() - i);
    const int64_t rows =
        std::min(std::max<int64_t>(1, budget / others), job->total() - job->state->tokens());
    members.push_back({.document = job, .rows = rows, .outputs = 0});
    budget -= rows;
  }
  ++next_document_;
  return members;
}

void Engine::Loop::Step(std::vector<Member> members) {
  std::vector<model::ForwardItem> items;
  items.reserve(members.size());
  int64_t rows = 0;
  bool documents = false;
  for (const Member& member : members) {
    model::ForwardItem item;
    if (member.question != nullptr) {
      item.state = member.question->state();
      item.tokens = member.question->NextTokens(member.rows);
      item.attention_mass = member.question->AttentionMass(member.rows);
    } else {
      documents = true;
      item.state = member.document->state.get();
      item.tokens =
          absl::MakeConstSpan(member.document->loaded.tokens)
              .subspan(static_cast<size_t>(item.state->tokens()), static_cast<size_t>(member.rows));
    }
    item.outputs = member.outputs;
    items.push_back(item);
    rows += member.rows;
  }
  const auto cancelled = [&members, documents] {
    return !documents && std::all_of(members.begin(), members.end(), [](const Member& member) {
      return member.question->stream().cancelled();
    });
  };
  absl::StatusOr<kernels::Tensor> logits = model_->transformer().Forward(items, cancelled);
  if (!logits.ok()) {
    StepFailed(logits.status(), members);
    return;
  }
  metrics_->Step(rows);

  std::vector<kernels::SampleRequest> requests;
  for (const Member& member : members) {
    if (member.outputs > 0) {
      requests.push_back(member.question->NextSample());
    }
  }
  std::vector<kernels::SampleResult> samples;
  if (!requests.empty()) {
    absl::StatusOr<std::vector<kernels::SampleResult>> sampled =
        model_->backend().Sample(*logits, requests);
    if (!sampled.ok()) {
      // Not as it came: the step is committed, so it cannot be tried again.
      StepFailed(absl::InternalError(sampled.status().message()), members);
      return;
    }
    samples = *std::move(sampled);
  }
  size_t next_sample = 0;
  for (const Member& member : members) {
    if (member.document != nullptr) {
      DocumentAdvanced(*member.document, member.rows);
      continue;
    }
    const kernels::SampleResult* sample = member.outputs > 0 ? &samples[next_sample++] : nullptr;
    if (std::optional<absl::Status> end =
            member.question->Advance(member.rows, sample, *metrics_)) {
      EndQuestion(*member.question, *end);
    }
  }
}

// Nothing of the step was committed. Want of memory is met by letting go of states that can come
// back from disk, then by shedding the newest work; anything else ends what was in the step.
void Engine::Loop::StepFailed(const absl::Status& status, const std::vector<Member>& members) {
  if (absl::IsCancelled(status)) {
    return;  // DropEndedQuestions finds whom it concerned
  }
  if (absl::IsResourceExhausted(status)) {
    if (cache_.EvictOne()) {
      metrics_->MemoryStateEvicted();
      return;
    }
    const Member& newest = members.back();
    const absl::Status shed = WithDetails(absl::ResourceExhaustedError("out of memory for states"),
                                          {.reason = reason::kOutOfMemory, .retry_seconds = 5});
    if (newest.question != nullptr) {
      EndQuestion(*newest.question, shed);
    } else if (members.size() > 1) {
      Requeue(*newest.document);
    } else {
      EndDocument(*newest.document, shed);
    }
    return;
  }
  log::Error("step failed", {{"error", status.ToString()}});
  for (const Member& member : members) {
    if (member.question != nullptr) {
      EndQuestion(*member.question, absl::InternalError("the model's step failed"));
    } else {
      EndDocument(*member.document, absl::InternalError("the model's step failed"));
    }
  }
}

bool Engine::Loop::Reserve(int64_t bytes) {
  const int64_t capacity = model_->backend().memory().state_capacity_bytes;
  while (reserved_bytes_ + cache_.bytes() + bytes > capacity) {
    if (!cache_.EvictOne()) {
      return false;
    }
    metrics_->MemoryStateEvicted();
  }
  reserved_bytes_ += bytes;
  return true;
}

void Engine::Loop::PublishCounts() {
  int64_t queued = 0;
  for (const auto& job : documents_) {
    queued += job->waiting_to_be_read() ? 1 : 0;
  }
  queued_documents_.store(queued, std::memory_order_relaxed);
  state_bytes_.store(model_->backend().memory().state_bytes, std::memory_order_relaxed);
}

}  // namespace longleaf::service
