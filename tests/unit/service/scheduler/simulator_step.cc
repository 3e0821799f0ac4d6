// The simulator's steps: composed by the real scheduler, checked, timed by the formula.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/unit/service/scheduler/simulator.h"

namespace longleaf::service::simulation {
namespace {

// A client that stopped reading is sent so many tokens still.
constexpr int64_t kStreamRoom = 16;

WorkKind CountedAs(WorkKind kind) {
  return kind == WorkKind::kDocument ? WorkKind::kDocument : WorkKind::kQuestion;
}

}  // namespace

std::vector<Simulator::Job*> Simulator::Candidates(std::vector<Work>& work) {
  std::vector<Job*> candidates;
  for (const auto& job : jobs_) {
    const Request& request = requests_[job->index];
    const bool paused = request.pause_from <= now_ && now_ < request.pause_until;
    Work one{&request.flow, request.kind, 0};
    if (job->stage == Stage::kRebuilding) {
      one.kind = WorkKind::kDocument;
      one.tokens = request.rebuild_tokens - job->rebuilt;
    } else if (job->stage == Stage::kReading) {
      one.tokens = request.tokens - job->read;
    } else if (job->stage == Stage::kAnswering && (!paused || job->untaken < kStreamRoom)) {
      one.kind = WorkKind::kAnswer;
      one.tokens = 1;
      job->untaken = paused ? job->untaken + 1 : 0;
    }
    if (one.tokens > 0) {
      work.push_back(one);
      candidates.push_back(job.get());
    }
  }
  return candidates;
}

void Simulator::RunStep() {
  std::vector<Work> work;
  const std::vector<Job*> candidates = Candidates(work);
  const std::vector<Share> shares = scheduler_.Compose(work);
  Check(work, shares);
  if (shares.empty() || !broken_.empty()) {
    return;
  }
  Step step{.at = now_};
  int64_t positions = 0;
  for (const Work& one : work) {
    step.reading += one.kind == WorkKind::kAnswer ? 0 : 1;
  }
  for (const Share& share : shares) {
    const WorkKind kind = work[share.work].kind;
    (kind == WorkKind::kAnswer ? step.answers : step.prompt_tokens) += share.tokens;
    const Job& job = *candidates[share.work];
    positions += kind == WorkKind::kDocument ? share.tokens * (job.rebuilt + job.read) : 0;
  }
  step.answers_alone_seconds = options_.machine.Seconds(step.answers, 0, now_);
  step.seconds = options_.machine.Seconds(step.answers + step.prompt_tokens, positions, now_);
  std::uniform_real_distribution<double> uniform(-1, 1);
  step.seconds *= 1 + options_.machine.noise * uniform(random_);
  if (uniform(random_) < 2 * options_.machine.outliers - 1) {
    step.seconds *= 12.5 + 7.5 * uniform(random_);
  }
  now_ += step.seconds;
  for (const Share& share : shares) {
    Advance(*candidates[share.work], work[share.work].kind, share.tokens);
  }
  CountGaps(work, shares);
  scheduler_.Committed(work, shares, step.seconds);
  backlog_.Observe(step.answers, step.prompt_tokens, step.seconds);
  steps_.push_back(step);
  if (on_step_) {
    on_step_();
  }
}

void Simulator::Advance(Job& job, WorkKind kind, int64_t tokens) {
  const Request& request = requests_[job.index];
  Outcome& outcome = outcomes_[job.index];
  outcome.served += tokens;
  served_[{CountedAs(kind), request.flow.tenant}] += tokens;
  if (job.stage == Stage::kEnded) {
    Break(absl::StrCat("request ", job.index, " was served after its end"));
  } else if (job.stage == Stage::kRebuilding) {
    job.rebuilt += tokens;
    job.stage = job.rebuilt == request.rebuild_tokens ? Stage::kWaiting : Stage::kRebuilding;
  } else if (job.stage == Stage::kReading) {
    job.read += tokens;
    if (job.read == request.tokens && kind == WorkKind::kDocument) {
      Finish(job, End::kFinished);
    } else if (job.read == request.tokens) {
      job.stage = Stage::kAnswering;
      outcome.first_token_at = now_;
      job.answered = 1;
    }
  } else {
    ++job.answered;
  }
  if (job.stage == Stage::kAnswering && job.answered >= request.answer_tokens) {
    Finish(job, End::kFinished);
  }
}

void Simulator::Check(const std::vector<Work>& work, const std::vector<Share>& step) {
  if (step.empty() && !work.empty()) {
    Break("an empty step although there is work");
  }
  int64_t rows = 0;
  int64_t outputs = 0;
  int64_t answers = 0;
  int64_t waiting_answers = 0;
  std::set<size_t> seen;
  for (const Work& one : work) {
    waiting_answers += one.kind == WorkKind::kAnswer ? 1 : 0;
  }
  for (const Share& share : step) {
    if (share.work >= work.size() || !seen.insert(share.work).second) {
      Break("work that there is not, or twice");
      return;
    }
    const Work& one = work[share.work];
    if (share.tokens < 1 || share.tokens > one.tokens) {
      Break(absl::StrCat("a share of ", share.tokens, " of ", one.tokens));
    }
    rows += share.tokens;
    answers += one.kind == WorkKind::kAnswer ? 1 : 0;
    outputs += one.kind != WorkKind::kDocument && share.tokens == one.tokens ? 1 : 0;
  }
  const SchedulerOptions& limits = options_.scheduler;
  if (rows > limits.max_step_tokens || outputs > limits.max_step_outputs) {
    Break(absl::StrCat(rows, " rows, ", outputs, " outputs"));
  }
  const int64_t room =
      std::min(limits.max_step_outputs, limits.max_step_tokens - limits.budget.min_tokens);
  if (answers < std::min(waiting_answers, room)) {
    Break(absl::StrCat(answers, " of ", waiting_answers, " answers go on"));
  }
  if (reserved_ > options_.memory) {
    Break("more memory reserved than there is");
  }
}

void Simulator::CountGaps(const std::vector<Work>& work, const std::vector<Share>& step) {
  std::set<std::pair<WorkKind, std::string>> ready;
  for (const Work& one : work) {
    if (one.kind != WorkKind::kAnswer) {
      ready.insert({one.kind, one.flow->tenant});
    }
  }
  std::set<std::pair<WorkKind, std::string>> served;
  std::map<WorkKind, int64_t> tokens;
  for (const Share& share : step) {
    const Work& one = work[share.work];
    served.insert({CountedAs(one.kind), one.flow->tenant});
    tokens[CountedAs(one.kind)] += share.tokens;
  }
  std::erase_if(gaps_, [&](const auto& gap) {
    return served.contains(gap.first) || !ready.contains(gap.first);
  });
  for (const auto& who : ready) {
    if (!served.contains(who)) {
      int64_t& longest = longest_gap_[who.first];
      longest = std::max(longest, gaps_[who] += tokens[who.first]);
    }
  }
}

}  // namespace longleaf::service::simulation
