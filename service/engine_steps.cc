// The engine's steps: who takes part, running them on the model, and what became of each.

#include <algorithm>
#include <utility>

#include "service/engine_loop.h"
#include "service/errors.h"
#include "service/log.h"

namespace longleaf::service {

// A step that waits for layers of a state which is still being restored: for a moment, when others
// are in it; those who are not there by then sit out until they are.
class Engine::Loop::RestoreWait {
 public:
  // `step_seconds`: what a step takes, as far as is known.
  RestoreWait(const Plan& plan, double step_seconds) {
    bool others = false;
    for (const Member& member : plan.members) {
      if (member.question != nullptr && Restoring(*member.question)) {
        questions_.push_back(member.question);
      } else {
        others = true;
      }
    }
    left_ = others ? std::chrono::duration_cast<Clock::duration>(
                         std::chrono::duration<double>(kPatienceOfOthers * step_seconds))
                   : Clock::duration(kPatienceAlone);
  }

  // All of `layer` is there; the number of layers: all is there, and verified.
  absl::Status For(int64_t layer) {
    const Clock::time_point begun = Clock::now();
    for (QuestionJob* const question : questions_) {
      const absl::Status status = question->restore->Wait(layer, begun + left_);
      if (!status.ok()) {
        gave_up_ = true;
        question->held = true;
        return status;
      }
    }
    left_ = std::max(Clock::duration(0), left_ - (Clock::now() - begun));
    return absl::OkStatus();
  }

  bool gave_up() const { return gave_up_; }

  static bool Restoring(const QuestionJob& question) {
    return question.restore != nullptr && !question.restore->Finished();
  }

 private:
  // Of a step's time.
  static constexpr double kPatienceOfOthers = 0.1;
  // So that a cancel is seen.
  static constexpr std::chrono::milliseconds kPatienceAlone{50};

  std::vector<QuestionJob*> questions_;
  Clock::duration left_;
  bool gave_up_ = false;
};

// Whether somebody has work who waits for no disk.
bool Engine::Loop::AnyoneReady() const {
  return std::any_of(questions_.begin(), questions_.end(),
                     [](const auto& question) {
                       return question->RowsWanted() > 0 && !RestoreWait::Restoring(*question);
                     }) ||
         std::any_of(documents_.begin(), documents_.end(),
                     [](const auto& job) { return job->stage == DocumentJob::Stage::kReading; });
}

// A question whose state is still being restored joins others when half of the layers are there:
// the rest comes while those are computed.
bool Engine::Loop::MayJoin(const QuestionJob& question, bool others) const {
  if (!RestoreWait::Restoring(question)) {
    return true;
  }
  return !question.held &&
         (!others || question.restore->Wait(model_->config().layers / 2, Clock::now()).ok());
}

Engine::Loop::Plan Engine::Loop::Compose() {
  Plan plan;
  std::vector<Member> candidates;
  const bool others = AnyoneReady();
  for (const auto& question : questions_) {
    const int64_t rows = question->RowsWanted();
    if (rows > 0 && MayJoin(*question, others)) {
      const bool answering = question->stage() == QuestionJob::Stage::kAnswering;
      plan.work.push_back(
          {&question->flow(), answering ? WorkKind::kAnswer : WorkKind::kQuestion, rows});
      candidates.push_back({.question = question.get()});
    }
  }
  for (const auto& job : documents_) {
    if (job->stage == DocumentJob::Stage::kReading && !job->cancelled && !draining_) {
      plan.work.push_back({&job->flow, WorkKind::kDocument, job->tokens_left()});
      candidates.push_back({.document = job.get()});
    }
  }
  plan.shares = scheduler_.Compose(plan.work);
  plan.members.reserve(plan.shares.size());
  for (const Share& share : plan.shares) {
    Member member = candidates[share.work];
    member.rows = share.tokens;
    member.outputs =
        member.question != nullptr && member.question->WantsOutput(share.tokens) ? 1 : 0;
    plan.members.push_back(member);
  }
  return plan;
}

std::vector<model::ForwardItem> Engine::Loop::ItemsOf(const std::vector<Member>& members) {
  std::vector<model::ForwardItem> items;
  items.reserve(members.size());
  for (const Member& member : members) {
    model::ForwardItem item;
    if (member.question != nullptr) {
      item.state = member.question->state();
      item.tokens = member.question->NextTokens(member.rows);
      item.attention_mass = member.question->AttentionMass(member.rows);
    } else {
      item.state = member.document->state.get();
      item.tokens =
          absl::MakeConstSpan(member.document->loaded.tokens)
              .subspan(static_cast<size_t>(item.state->tokens()), static_cast<size_t>(member.rows));
    }
    item.outputs = member.outputs;
    items.push_back(item);
  }
  return items;
}

void Engine::Loop::Step(const Plan& plan) {
  const Clock::time_point begun = Clock::now();
  RestoreWait wait(plan, scheduler_.budget().AnswerStepSeconds(1));
  const auto before_layer = [this, &plan, &wait](int64_t layer) -> absl::Status {
    const bool cancelled =
        std::all_of(plan.members.begin(), plan.members.end(), [](const Member& member) {
          return member.question != nullptr && member.question->stream().cancelled();
        });
    if (cancelled && layer < model_->config().layers) {
      return absl::CancelledError("nobody waits for this step");
    }
    return wait.For(layer);
  };
  absl::StatusOr<kernels::Tensor> logits =
      model_->transformer().Forward(ItemsOf(plan.members), before_layer);
  if (wait.gave_up()) {
    return;  // without those it waited for, the step comes again
  }
  if (!logits.ok()) {
    StepFailed(logits.status(), plan.members);
    return;
  }
  if (const absl::Status status = Advance(plan.members, *logits); !status.ok()) {
    StepFailed(status, plan.members);
    return;
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  scheduler_.Committed(plan.work, plan.shares, seconds);
  int64_t answers = 0;
  int64_t rows = 0;
  for (const Share& share : plan.shares) {
    answers += plan.work[share.work].kind == WorkKind::kAnswer ? 1 : 0;
    rows += share.tokens;
  }
  backlog_.Observe(answers, rows - answers, seconds);
  metrics_->Step(rows, seconds);
}

// Chooses the tokens that the step decides, and moves everybody in it on.
absl::Status Engine::Loop::Advance(const std::vector<Member>& members,
                                   const kernels::Tensor& logits) {
  std::vector<kernels::SampleRequest> requests;
  for (const Member& member : members) {
    if (member.outputs > 0) {
      requests.push_back(member.question->NextSample());
    }
  }
  std::vector<kernels::SampleResult> samples;
  if (!requests.empty()) {
    absl::StatusOr<std::vector<kernels::SampleResult>> sampled =
        model_->backend().Sample(logits, requests);
    if (!sampled.ok()) {
      // Not as it came: the step is committed, so it cannot be tried again.
      return absl::InternalError(sampled.status().message());
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
      backlog_.AnswerEnded(member.question->answer_tokens());
      EndQuestion(*member.question, *end);
    }
  }
  return absl::OkStatus();
}

// Nothing of the step was committed. Want of memory is met by letting go of states that can come
// back from disk, then by shedding the work that was served most; anything else ends what was in
// the step.
void Engine::Loop::StepFailed(const absl::Status& status, const std::vector<Member>& members) {
  if (absl::IsCancelled(status)) {
    return;  // DropEndedQuestions finds whom it concerned
  }
  if (absl::IsResourceExhausted(status)) {
    if (cache_.EvictOne()) {
      metrics_->MemoryStateEvicted();
      return;
    }
    const Member& last = members.back();
    const absl::Status shed = WithDetails(absl::ResourceExhaustedError("out of memory for states"),
                                          {.reason = reason::kOutOfMemory, .retry_seconds = 5});
    if (last.question != nullptr) {
      EndQuestion(*last.question, shed);
    } else if (members.size() > 1) {
      Requeue(*last.document);
    } else {
      EndDocument(*last.document, shed);
    }
    return;
  }
  log::Error("step failed", {{"error", status.ToString()}});
  if (const absl::Status device = model_->backend().Usable(); !device.ok()) {
    log::Error("the device is lost", {{"error", device.ToString()}});
    device_lost_ = true;
    GiveUp();
    if (options_.device_lost) {
      options_.device_lost(device);
    }
    return;
  }
  for (const Member& member : members) {
    if (member.question != nullptr) {
      EndQuestion(*member.question, absl::InternalError("the model's step failed"));
    } else {
      EndDocument(*member.document, absl::InternalError("the model's step failed"));
    }
  }
}

// Without a device: nobody gets an answer, and no document is to blame. Each goes on from its last
// checkpoint after the next start.
void Engine::Loop::GiveUp() {
  for (const auto& question : questions_) {
    EndQuestion(*question, WithDetails(absl::UnavailableError("the device is lost"),
                                       {.reason = reason::kDraining, .retry_seconds = 5}));
  }
  for (const auto& document : documents_) {
    document->cancelled = true;
  }
}

}  // namespace longleaf::service
