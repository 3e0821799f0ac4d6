// What goes into the next step, and who is admitted next. The policy alone: no clock, no backend,
// no lock. The engine tells it what there is and how long steps took; the simulator in the tests
// does the same with a virtual clock.
//
// A step carries, in this order:
// 1. the next token of every running answer (up to max_outputs; who was served least first);
// 2. tokens of questions being read, then of documents being read, within the budget that keeps
//    answers flowing (step_budget.h), the least served first (token_shares.h). While both wait,
//    documents are left a quarter of the budget: neither kind starves the other.
#ifndef LONGLEAF_SERVICE_SCHEDULER_SCHEDULER_H_
#define LONGLEAF_SERVICE_SCHEDULER_SCHEDULER_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "service/scheduler/step_budget.h"
#include "service/scheduler/token_shares.h"

namespace longleaf::service {

enum class WorkKind : uint8_t {
  kAnswer,    // the next token of an answer: one token
  kQuestion,  // a question's tokens
  kDocument,  // a document's tokens
};

// Something that could take part in the next step.
struct Work {
  const Flow* flow = nullptr;  // who is charged; not owned
  WorkKind kind = WorkKind::kAnswer;
  int64_t tokens = 1;  // that it could take now, >= 1
};

struct Share {
  size_t work = 0;  // index
  int64_t tokens = 0;
};

struct SchedulerOptions {
  StepBudgetOptions budget;
  int64_t max_step_tokens = 512;   // rows of the largest step, answers included
  int64_t max_step_outputs = 256;  // tokens chosen in a step: answers, and questions read whole
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Requests of a kind (kQuestion or kDocument) that wait for admission: indices into `waiting`,
  // who comes first to who comes last. They count as waiting until the next call for that kind, so
  // it is to be called each time round, also with none.
  std::vector<size_t> AdmissionOrder(WorkKind kind, absl::Span<const Flow* const> waiting);

  // The next step, answers first; each index at most once. Empty only when `work` is. A question's
  // share that reads it whole (all of `tokens`) counts as an output.
  std::vector<Share> Compose(absl::Span<const Work> work);

  // That step was carried out and took `seconds`: charges everybody in it.
  void Committed(absl::Span<const Work> work, absl::Span<const Share> step, double seconds);

  const StepBudget& budget() const { return budget_; }
  const TokenShares& question_shares() const { return questions_.shares; }
  const TokenShares& document_shares() const { return documents_.shares; }

 private:
  // Who has work of a kind: only they hold others back (an answer that runs alone does not wait).
  struct Kind {
    TokenShares shares;
    std::vector<Flow> waiting;  // for admission
    std::vector<Flow> ready;    // in the last Compose
  };

  Kind& Of(WorkKind kind) { return kind == WorkKind::kDocument ? documents_ : questions_; }
  static void Activate(Kind& kind);
  // Hands out up to `tokens`, least served first; returns those handed out.
  int64_t Hand(absl::Span<const Work> work, const std::vector<size_t>& of_kind, int64_t tokens,
               int64_t& outputs, std::vector<Share>& step);

  const SchedulerOptions options_;
  StepBudget budget_;
  Kind questions_;
  Kind documents_;
  int64_t document_quarters_ = 0;  // of a token, that documents are due while questions wait
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_SCHEDULER_SCHEDULER_H_
