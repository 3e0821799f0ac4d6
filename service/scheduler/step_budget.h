// How many prompt tokens a step may read beside the answers that it carries on. What the tokens of
// a step cost is learned from how long steps take, so that answers flow on nearly as fast as
// without the reading, whatever the model and the machine.
//
// Pure arithmetic: no clock, no lock. For one thread.
#ifndef LONGLEAF_SERVICE_SCHEDULER_STEP_BUDGET_H_
#define LONGLEAF_SERVICE_SCHEDULER_STEP_BUDGET_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace longleaf::service {

struct StepBudgetOptions {
  int64_t max_tokens = 512;   // of a step while nobody waits for a token
  int64_t min_tokens = 8;     // read in a step beside answers, at least: reading always goes on
  double max_slowdown = 1.6;  // a step with reading takes at most this much of one without
};

class StepBudget {
 public:
  explicit StepBudget(const StepBudgetOptions& options);

  // Prompt tokens for the next step when it carries on `answers` answers. Now and then (rarely) 0
  // although there would be room: such a step shows what answers alone cost by now.
  int64_t PromptTokens(int64_t answers);

  // A step of `answers` next tokens and `prompt_tokens` tokens took `seconds`.
  void Observe(int64_t answers, int64_t prompt_tokens, double seconds);

  // What a step of `answers` answers alone takes, and what a prompt token costs when many are read;
  // 0 while unknown.
  double AnswerStepSeconds(int64_t answers) const;
  double PromptTokenSeconds() const;

 private:
  // What is known about steps of about so many answers.
  struct Class {
    std::vector<double> alone;  // seconds of the last steps without reading, newest last
    int64_t alone_at = 0;       // observed_ when the newest came
    double tokens = 0;          // that may be read beside them; 0: not known
  };

  // The nearest known allowance; options_.min_tokens when there is none.
  double Allowance(size_t of) const;
  // How much of max_slowdown is aimed at: less when steps vary much.
  double Aim() const;
  void ObserveAlone(Class& answers, double seconds);
  void ObserveReading(size_t of, int64_t answers, int64_t prompt_tokens, double seconds);

  const StepBudgetOptions options_;
  std::map<size_t, Class> classes_;
  int64_t observed_ = 0;             // steps
  int64_t reading_since_probe_ = 0;  // reading steps since PromptTokens returned 0
  int64_t contradictions_ = 0;       // reading steps that no allowance explains
  double mean_slowdown_ = 0;         // of reading steps
  double deviation_ = 0;             // from it, mean
  double prompt_token_seconds_ = 0;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_SCHEDULER_STEP_BUDGET_H_
