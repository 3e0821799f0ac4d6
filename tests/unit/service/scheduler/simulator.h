// The engine without a model: a virtual clock, a machine that is a formula, and requests that come,
// wait, run, stop reading and go away, under the real policy (service/scheduler). The glue between
// policy and requests mirrors the engine's; what the tests are about is what the policy does with
// thousands of requests, in milliseconds.
//
// Every step is checked against the budgets as it is made; Broken() says what was violated first.
#ifndef LONGLEAF_TESTS_UNIT_SERVICE_SCHEDULER_SIMULATOR_H_
#define LONGLEAF_TESTS_UNIT_SERVICE_SCHEDULER_SIMULATOR_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "service/scheduler/backlog.h"
#include "service/scheduler/scheduler.h"

namespace longleaf::service::simulation {

constexpr double kNever = std::numeric_limits<double>::infinity();

// What a step takes: its weights are read once, some rows are free beside that, the rest compute;
// attention grows with how far a document's tokens are. A steeper curve stands for other machines.
struct Machine {
  double step_seconds = 0.02;
  int64_t free_rows = 8;
  double row_seconds = 0.0005;
  double position_seconds = 1e-9;  // of a document's row, for each token before it
  double curvature = 1;            // of the cost of rows; 1: linear
  double noise = 0.05;             // up to so much slower or faster
  double outliers = 0;             // part of the steps that take 5 to 20 times as long
  // Between these two moments everything takes `slow_factor` as long.
  double slow_from = kNever;
  double slow_until = kNever;
  double slow_factor = 2;

  // Without noise: of `rows` rows, documents' rows of which have `positions` tokens before them.
  double Seconds(int64_t rows, int64_t positions, double now) const;
};

struct Request {
  WorkKind kind = WorkKind::kQuestion;  // or kDocument
  Flow flow;
  double arrival = 0;
  int64_t tokens = 1;          // to be read
  int64_t rebuild_tokens = 0;  // of its document's state, to be read before a question
  int64_t answer_tokens = 1;
  double cancel_at = kNever;
  double deadline = kNever;
  // The client takes no tokens between these moments.
  double pause_from = kNever;
  double pause_until = kNever;
};

enum class End : uint8_t { kNone, kFinished, kCancelled, kDeadline, kFull, kRefused };

struct Outcome {
  End end = End::kNone;
  double admitted_at = kNever;
  double first_token_at = kNever;
  double ended_at = kNever;
  double estimate = 0;   // of the time to the first token, when it came; 0: none
  bool doubted = false;  // its deadline, by the estimate
  int64_t served = 0;    // tokens
};

// One that a closed loop keeps up: as soon as one ends, the next comes.
struct ClosedLoop {
  Request request;
  int64_t outstanding = 1;
};

struct Options {
  SchedulerOptions scheduler;
  Machine machine;
  int64_t max_questions = 256;
  int64_t max_running_questions = 32;
  int64_t max_documents = 64;
  int64_t max_reading_documents = 4;
  int64_t memory = 1 << 20;  // in tokens of states
  double patience = 5;       // seconds for memory, after which nobody else gets any
  bool refuses = true;       // deadlines that cannot be met
  double ends_at = kNever;   // of closed loops: nothing new comes then, all is cancelled
};

struct Step {
  double at = 0;
  int64_t answers = 0;
  int64_t prompt_tokens = 0;
  int64_t reading = 0;  // requests that wait for prompt tokens
  double seconds = 0;
  double answers_alone_seconds = 0;  // of the same machine at that moment, without noise
};

class Simulator {
 public:
  Simulator(const Options& options, uint64_t seed, std::vector<Request> requests,
            std::vector<ClosedLoop> loops = {});
  ~Simulator();

  // Until nothing is left to do, or `max_steps`.
  void Run(int64_t max_steps = 1'000'000);

  // What was violated first; empty: nothing.
  const std::string& broken() const { return broken_; }
  const std::vector<Request>& requests() const { return requests_; }
  const std::vector<Outcome>& outcomes() const { return outcomes_; }
  const std::vector<Step>& steps() const { return steps_; }
  const Scheduler& scheduler() const { return scheduler_; }
  int64_t memory_reserved() const { return reserved_; }
  double now() const { return now_; }
  // Tokens that others of its kind were served while a tenant's request was ready and the tenant
  // got nothing, at most.
  int64_t LongestGap(WorkKind kind) const {
    const auto found = longest_gap_.find(kind);
    return found == longest_gap_.end() ? 0 : found->second;
  }
  // Tokens served to a tenant for work of a kind (answers are questions').
  int64_t Served(WorkKind kind, const std::string& tenant) const;
  // Called after each step.
  void OnStep(std::function<void()> callback) { on_step_ = std::move(callback); }

 private:
  enum class Stage : uint8_t { kComing, kWaiting, kRebuilding, kReading, kAnswering, kEnded };
  struct Job {
    size_t index = 0;
    Stage stage = Stage::kWaiting;
    int64_t rebuilt = 0;
    int64_t read = 0;
    int64_t answered = 0;
    int64_t untaken = 0;  // sent while the client did not read
    int64_t reserved = 0;
  };

  void Arrive(size_t index);
  void TopUpLoops();
  void DropEnded();
  void Finish(Job& job, End end);
  void Admit(WorkKind kind);
  bool Reserve(Job& job);
  Load CurrentLoad() const;
  void RunStep();
  // Those that could take part now; their work is [the result].
  std::vector<Job*> Candidates(std::vector<Work>& work);
  void Advance(Job& job, WorkKind kind, int64_t tokens);
  void Check(const std::vector<Work>& work, const std::vector<Share>& step);
  void CountGaps(const std::vector<Work>& work, const std::vector<Share>& step);
  bool JumpToNextEvent();
  void Break(const std::string& what);

  const Options options_;
  std::mt19937_64 random_;
  std::vector<Request> requests_;
  std::vector<Outcome> outcomes_;
  std::vector<ClosedLoop> loops_;
  std::vector<std::vector<size_t>> of_loop_;  // outstanding requests of each
  std::vector<size_t> coming_;                // indices by arrival, the next one last
  std::vector<std::unique_ptr<Job>> jobs_;    // oldest first
  Scheduler scheduler_;
  Backlog backlog_;
  double now_ = 0;
  int64_t reserved_ = 0;
  const Job* starving_ = nullptr;
  bool ended_ = false;
  std::vector<Step> steps_;
  std::string broken_;
  std::map<std::pair<WorkKind, std::string>, int64_t> served_;
  std::map<std::pair<WorkKind, std::string>, int64_t> gaps_;
  std::map<WorkKind, int64_t> longest_gap_;
  std::function<void()> on_step_;
};

}  // namespace longleaf::service::simulation

#endif  // LONGLEAF_TESTS_UNIT_SERVICE_SCHEDULER_SIMULATOR_H_
