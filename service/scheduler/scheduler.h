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

  // States whose work there is, running and waiting, before Compose and AdmissionOrder.
  void SetActive(absl::Span<const Flow* const> flows) { shares_.SetActive(flows); }

  // The next step, answers first; each index at most once. Empty only when `work` is, or when the
  // step is all reading and none is due (never twice in a row).
  // A question's share that reads it whole counts as an output.
  std::vector<Share> Compose(absl::Span<const Work> work);

  // That step was carried out and took `seconds`: charges everybody in it.
  void Committed(absl::Span<const Work> work, absl::Span<const Share> step, double seconds);

  // In which order waiting requests are admitted: indices into `waiting`.
  std::vector<size_t> AdmissionOrder(absl::Span<const Flow* const> waiting) const {
    return shares_.Order(waiting);
  }

  const StepBudget& budget() const { return budget_; }
  const TokenShares& shares() const { return shares_; }

 private:
  const SchedulerOptions options_;
  StepBudget budget_;
  TokenShares shares_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_SCHEDULER_SCHEDULER_H_
