// One document of the needle test with its questions, and what one attention policy answers.
#ifndef LONGLEAF_SERVICE_EVAL_NEEDLE_TRIAL_H_
#define LONGLEAF_SERVICE_EVAL_NEEDLE_TRIAL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/attention_policy.h"
#include "service/eval/answer.h"
#include "service/eval/facts.h"
#include "service/eval/needle_document.h"
#include "service/eval/session.h"

namespace longleaf::service::eval {

struct NeedlePlan {
  Task task = Task::kDistractors;
  Phrasings phrasings = Phrasings::kTrained;
  int64_t questions = 16;  // facts of a document; Task::kSingle: one, whatever this says
  int64_t unstated = 3;
  uint64_t seed = 1;

  int64_t facts() const { return task == Task::kSingle ? 1 : questions; }
};

// The same for every policy.
struct Trial {
  int64_t number = 0;  // of the document
  std::vector<int32_t> ids;
  std::vector<Fact> facts;                  // the stated ones, then the others
  std::vector<std::vector<double>> depths;  // [facts][answers] 0..1; of stated ones
};

// Texts that documents are made from. They outlive the trials' making.
struct Prose {
  std::vector<std::string> texts;
  std::vector<Filler> fillers;  // [texts]
};

// Document `number` of `length` tokens, which count everything: document, question and answer.
// Equal plans and numbers give equal facts at every length. INVALID_ARGUMENT when the length has no
// room for them or the catalogue not enough of them.
absl::StatusOr<Trial> MakeTrial(const NeedlePlan& plan, const FactCatalogue& catalogue,
                                const Prose& prose, const TextModel& text, int64_t length,
                                int64_t number);

struct TrialAnswers {
  int64_t state_bytes = 0;
  int64_t full_cache_bytes = 0;      // what full attention would hold for the same document
  std::vector<std::string> answers;  // [facts]
};

// Reads the document once and asks everything, several questions at a time. `label` is for the line
// of progress.
absl::StatusOr<TrialAnswers> AskTrial(Session& session, const TextModel& text, const Trial& trial,
                                      const kernels::AttentionPolicy& policy,
                                      const std::string& label);

// Which of a fact's answers are in `answer`: the only one must be all of it, but for spaces around
// and a full stop at the end; of several each must be in it, word by word.
std::vector<bool> FindAnswers(const Fact& fact, std::string_view answer);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_NEEDLE_TRIAL_H_
