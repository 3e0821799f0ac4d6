#include "tests/unit/service/scheduler/simulator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace longleaf::service::simulation {
namespace {

// As the engine: an estimate has to be above the time left by so much before it refuses.
constexpr double kDeadlineDoubt = 1.5;

}  // namespace

double Machine::Seconds(int64_t rows, int64_t positions, double now) const {
  const double paid = static_cast<double>(std::max<int64_t>(0, rows - free_rows));
  const double seconds = step_seconds + row_seconds * std::pow(paid, curvature) +
                         position_seconds * static_cast<double>(positions);
  return now >= slow_from && now < slow_until ? slow_factor * seconds : seconds;
}

Simulator::Simulator(const Options& options, uint64_t seed, std::vector<Request> requests,
                     std::vector<ClosedLoop> loops)
    : options_(options),
      random_(seed),
      requests_(std::move(requests)),
      outcomes_(requests_.size()),
      loops_(std::move(loops)),
      of_loop_(loops_.size()),
      scheduler_(options.scheduler) {
  for (size_t i = 0; i < requests_.size(); ++i) {
    coming_.push_back(i);
  }
  std::stable_sort(coming_.begin(), coming_.end(), [this](size_t a, size_t b) {
    return requests_[a].arrival > requests_[b].arrival;
  });
}

Simulator::~Simulator() = default;

void Simulator::Break(const std::string& what) {
  if (broken_.empty()) {
    broken_ = absl::StrCat("at ", now_, " s, step ", steps_.size(), ": ", what);
  }
}

int64_t Simulator::Served(WorkKind kind, const std::string& tenant) const {
  const auto found = served_.find({kind, tenant});
  return found == served_.end() ? 0 : found->second;
}

void Simulator::Run(int64_t max_steps) {
  while (static_cast<int64_t>(steps_.size()) < max_steps && broken_.empty()) {
    ended_ = now_ >= options_.ends_at;
    TopUpLoops();
    while (!coming_.empty() && requests_[coming_.back()].arrival <= now_) {
      const size_t index = coming_.back();
      coming_.pop_back();
      Arrive(index);
    }
    DropEnded();
    Admit(WorkKind::kDocument);
    Admit(WorkKind::kQuestion);
    const size_t before = steps_.size();
    RunStep();
    if (steps_.size() == before && !JumpToNextEvent()) {
      break;
    }
  }
  DropEnded();
  Admit(WorkKind::kDocument);
  Admit(WorkKind::kQuestion);
}

void Simulator::TopUpLoops() {
  for (size_t i = 0; i < loops_.size(); ++i) {
    std::erase_if(of_loop_[i], [this](size_t index) { return outcomes_[index].end != End::kNone; });
    while (!ended_ && static_cast<int64_t>(of_loop_[i].size()) < loops_[i].outstanding &&
           loops_[i].request.arrival <= now_) {
      of_loop_[i].push_back(requests_.size());
      requests_.push_back(loops_[i].request);
      requests_.back().arrival = now_;
      requests_.back().flow.document += absl::StrCat("-", requests_.size());
      outcomes_.emplace_back();
      Arrive(requests_.size() - 1);
    }
  }
}

void Simulator::Arrive(size_t index) {
  const Request& request = requests_[index];
  Outcome& outcome = outcomes_[index];
  const auto of_kind = std::count_if(jobs_.begin(), jobs_.end(), [&](const auto& job) {
    return requests_[job->index].kind == request.kind;
  });
  if (of_kind >=
      (request.kind == WorkKind::kQuestion ? options_.max_questions : options_.max_documents)) {
    outcome.end = End::kFull;
    outcome.ended_at = now_;
    return;
  }
  if (request.kind == WorkKind::kQuestion && backlog_.knows()) {
    outcome.estimate =
        backlog_.SecondsToFirstToken(CurrentLoad(), request.tokens, request.rebuild_tokens);
    outcome.doubted = outcome.estimate > kDeadlineDoubt * (request.deadline - now_);
    if (outcome.doubted && options_.refuses) {
      outcome.end = End::kRefused;
      outcome.ended_at = now_;
      return;
    }
  }
  jobs_.push_back(std::make_unique<Job>());
  jobs_.back()->index = index;
}

void Simulator::Finish(Job& job, End end) {
  if (starving_ == &job) {
    starving_ = nullptr;
  }
  job.stage = Stage::kEnded;
  reserved_ -= job.reserved;
  job.reserved = 0;
  outcomes_[job.index].end = end;
  outcomes_[job.index].ended_at = now_;
  if (end == End::kFinished && requests_[job.index].kind == WorkKind::kQuestion) {
    backlog_.AnswerEnded(job.answered);
  }
}

void Simulator::DropEnded() {
  for (const auto& job : jobs_) {
    const Request& request = requests_[job->index];
    if (job->stage == Stage::kEnded) {
      continue;
    }
    if (request.cancel_at <= now_ || (ended_ && !loops_.empty())) {
      Finish(*job, End::kCancelled);
    } else if (request.deadline <= now_) {
      Finish(*job, End::kDeadline);
    }
  }
  std::erase_if(jobs_, [](const auto& job) { return job->stage == Stage::kEnded; });
}

bool Simulator::Reserve(Job& job) {
  if (job.reserved > 0) {
    return true;
  }
  const Request& request = requests_[job.index];
  const int64_t wants = request.kind == WorkKind::kDocument
                            ? 1024 + request.tokens / 16
                            : request.tokens + request.answer_tokens + request.rebuild_tokens / 16;
  if (starving_ != nullptr && starving_ != &job) {
    return false;
  }
  if (reserved_ + wants > options_.memory) {
    if (now_ - request.arrival > options_.patience) {
      starving_ = &job;
    }
    return false;
  }
  starving_ = nullptr;
  reserved_ += wants;
  job.reserved = wants;
  return true;
}

void Simulator::Admit(WorkKind kind) {
  int64_t places =
      kind == WorkKind::kDocument ? options_.max_reading_documents : options_.max_running_questions;
  std::vector<Job*> waiting;
  std::vector<const Flow*> flows;
  for (const auto& job : jobs_) {
    if (requests_[job->index].kind != kind) {
      continue;
    }
    if (job->stage == Stage::kWaiting) {
      waiting.push_back(job.get());
      flows.push_back(&requests_[job->index].flow);
    } else if (job->stage != Stage::kRebuilding) {
      --places;
    }
  }
  for (const size_t next : scheduler_.AdmissionOrder(kind, flows)) {
    Job& job = *waiting[next];
    const bool rebuilds = job.rebuilt < requests_[job.index].rebuild_tokens;
    if ((places <= 0 && !rebuilds) || !Reserve(job)) {
      continue;
    }
    job.stage = rebuilds ? Stage::kRebuilding : Stage::kReading;
    places -= rebuilds ? 0 : 1;
    outcomes_[job.index].admitted_at = std::min(outcomes_[job.index].admitted_at, now_);
  }
}

Load Simulator::CurrentLoad() const {
  Load load;
  load.max_answers = options_.max_running_questions;
  for (const auto& job : jobs_) {
    const Request& request = requests_[job->index];
    int64_t document = 0;
    if (request.kind == WorkKind::kQuestion) {
      load.answers += job->stage >= Stage::kReading ? 1 : 0;
      load.waiting_questions += job->stage < Stage::kReading ? 1 : 0;
      load.question_tokens += request.tokens - job->read;
      document = request.rebuild_tokens - job->rebuilt;
    } else {
      document = request.tokens - job->read;
    }
    if (document > 0) {
      load.shortest_document_tokens =
          load.documents == 0 ? document : std::min(load.shortest_document_tokens, document);
      load.document_tokens += document;
      ++load.documents;
    }
  }
  return load;
}

bool Simulator::JumpToNextEvent() {
  double next = coming_.empty() ? kNever : requests_[coming_.back()].arrival;
  for (const auto& job : jobs_) {
    const Request& request = requests_[job->index];
    for (const double event :
         {request.cancel_at, request.deadline, request.pause_from, request.pause_until}) {
      if (event > now_) {
        next = std::min(next, event);
      }
    }
  }
  for (const ClosedLoop& loop : loops_) {
    if (!ended_ && loop.request.arrival > now_) {
      next = std::min(next, loop.request.arrival);
    }
  }
  if (next == kNever) {
    return false;
  }
  now_ = next;
  return true;
}

}  // namespace longleaf::service::simulation
