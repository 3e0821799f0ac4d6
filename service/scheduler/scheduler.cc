#include "service/scheduler/scheduler.h"

#include <algorithm>

namespace longleaf::service {
namespace {

// What documents are left of the prompt tokens while questions wait too: one in so many.
constexpr int64_t kDocumentPart = 4;

SchedulerOptions Valid(SchedulerOptions options) {
  options.max_step_tokens = std::max<int64_t>(1, options.max_step_tokens);
  options.max_step_outputs = std::max<int64_t>(1, options.max_step_outputs);
  return options;
}

int64_t Sum(absl::Span<const Work> work, const std::vector<size_t>& indices) {
  int64_t sum = 0;
  for (const size_t index : indices) {
    sum += work[index].tokens;
  }
  return sum;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(Valid(options)), budget_(options.budget) {}

void Scheduler::Activate(Kind& kind) {
  std::vector<const Flow*> ready;
  for (const Flow& flow : kind.ready) {
    ready.push_back(&flow);
  }
  std::vector<const Flow*> waiting;
  for (const Flow& flow : kind.waiting) {
    waiting.push_back(&flow);
  }
  kind.shares.SetActive(ready, waiting);
}

std::vector<size_t> Scheduler::AdmissionOrder(WorkKind kind_of_work,
                                              absl::Span<const Flow* const> waiting) {
  Kind& kind = Of(kind_of_work);
  kind.waiting.clear();
  for (const Flow* flow : waiting) {
    kind.waiting.push_back(*flow);
  }
  Activate(kind);
  return kind.shares.Order(waiting);
}

int64_t Scheduler::Hand(absl::Span<const Work> work, const std::vector<size_t>& of_kind,
                        int64_t tokens, int64_t& outputs, std::vector<Share>& step) {
  if (of_kind.empty() || tokens <= 0) {
    return 0;
  }
  std::vector<const Flow*> flows;
  flows.reserve(of_kind.size());
  for (const size_t index : of_kind) {
    flows.push_back(work[index].flow);
  }
  int64_t handed = 0;
  for (const size_t place : Of(work[of_kind.front()].kind).shares.Order(flows)) {
    const Work& one = work[of_kind[place]];
    int64_t some = std::min(one.tokens, tokens - handed);
    if (one.kind != WorkKind::kDocument && some == one.tokens && outputs-- <= 0) {
      outputs = 0;
      --some;  // all but the last token, whose output has no room
    }
    if (some > 0) {
      step.push_back({.work = of_kind[place], .tokens = some});
      handed += some;
    }
    if (handed == tokens) {
      break;
    }
  }
  return handed;
}

std::vector<Share> Scheduler::Compose(absl::Span<const Work> work) {
  std::vector<size_t> answers;
  std::vector<size_t> questions;
  std::vector<size_t> documents;
  for (size_t i = 0; i < work.size(); ++i) {
    if (work[i].kind == WorkKind::kAnswer) {
      answers.push_back(i);
    } else if (work[i].tokens > 0) {
      (work[i].kind == WorkKind::kQuestion ? questions : documents).push_back(i);
    }
  }
  const bool reads = !questions.empty() || !documents.empty();
  // However many answers there are, reading goes on.
  const int64_t kept_for_reading =
      reads ? std::min(options_.budget.min_tokens, options_.max_step_tokens / 2) : 0;
  int64_t outputs = options_.max_step_outputs;
  const int64_t max_answers = std::min(outputs, options_.max_step_tokens - kept_for_reading);

  questions_.ready.clear();
  documents_.ready.clear();
  if (static_cast<int64_t>(answers.size()) > max_answers) {
    for (const size_t index : answers) {  // answers have to wait as well
      questions_.ready.push_back(*work[index].flow);
    }
  }
  for (const std::vector<size_t>* some : {&questions, &documents}) {
    for (const size_t index : *some) {
      Of(work[index].kind).ready.push_back(*work[index].flow);
    }
  }
  Activate(questions_);
  Activate(documents_);

  std::vector<Share> step;
  if (static_cast<int64_t>(answers.size()) > max_answers) {
    Hand(work, answers, max_answers, outputs, step);
  } else {
    for (const size_t index : answers) {
      step.push_back({.work = index, .tokens = 1});
    }
    outputs -= static_cast<int64_t>(answers.size());
  }
  if (!reads) {
    return step;
  }
  const int64_t answering = static_cast<int64_t>(step.size());
  const int64_t tokens =
      std::min(options_.max_step_tokens - answering, budget_.PromptTokens(answering));
  const int64_t for_documents = Sum(work, documents);
  int64_t kept = 0;
  if (questions.empty() || documents.empty()) {
    document_quarters_ = 0;
  } else {
    document_quarters_ += tokens;
    kept = std::min(for_documents, document_quarters_ / kDocumentPart);
  }
  const int64_t asked = Hand(work, questions, tokens - kept, outputs, step);
  const int64_t read = Hand(work, documents, tokens - asked, outputs, step);
  document_quarters_ =
      read == for_documents ? 0 : std::max<int64_t>(0, document_quarters_ - read * kDocumentPart);
  return step;
}

void Scheduler::Committed(absl::Span<const Work> work, absl::Span<const Share> step,
                          double seconds) {
  int64_t answers = 0;
  int64_t prompt_tokens = 0;
  for (const Share& share : step) {
    const Work& one = work[share.work];
    Of(one.kind).shares.Charge(*one.flow, share.tokens);
    (one.kind == WorkKind::kAnswer ? answers : prompt_tokens) += share.tokens;
  }
  budget_.Observe(answers, prompt_tokens, seconds);
}

}  // namespace longleaf::service
