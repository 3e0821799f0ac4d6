// Asks one question of a prefix that has been read, with the prompt and the seams that the server
// uses, greedily.
#ifndef LONGLEAF_SERVICE_EVAL_ANSWER_H_
#define LONGLEAF_SERVICE_EVAL_ANSWER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "model/prompt.h"
#include "model/tokenizer.h"
#include "service/eval/session.h"

namespace longleaf::service::eval {

// The tokenizer and the prompt file of a session's model. Immutable.
class TextModel {
 public:
  static absl::StatusOr<std::unique_ptr<TextModel>> Load(const Session& session);
  TextModel(const TextModel&) = delete;
  TextModel& operator=(const TextModel&) = delete;

  const model::Tokenizer& tokenizer() const { return *tokenizer_; }
  const model::Prompt& prompt() const { return *prompt_; }
  // BOS, preamble and document: what is read before any question.
  absl::StatusOr<std::vector<int32_t>> DocumentIds(std::string_view text) const;

 private:
  TextModel() = default;
  std::unique_ptr<model::Tokenizer> tokenizer_;
  std::unique_ptr<model::Prompt> prompt_;
};

// The answer to `question` after the prefix that `document` holds, which is left as it is.
// `max_tokens` <= 0: as the prompt file says. `on_text`, when given, sees the answer as it comes.
absl::StatusOr<std::string> Answer(Session& session, const TextModel& text,
                                   const kernels::State& document, std::string_view question,
                                   int64_t max_tokens = 0,
                                   const std::function<void(std::string_view)>& on_text = nullptr);

// The same for several questions, whose tokens go through the model together: as many at once as a
// session that was opened with kAnswersAtOnce wanted outputs allows. Quantised weights give the
// very answers that each question gets alone; f32 and bf16 round differently in steps of another
// size, which shows only where the model finds two tokens equally likely.
inline constexpr int64_t kAnswersAtOnce = 32;
absl::StatusOr<std::vector<std::string>> AnswerAll(Session& session, const TextModel& text,
                                                   const kernels::State& document,
                                                   absl::Span<const std::string> questions,
                                                   int64_t max_tokens = 0);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_ANSWER_H_
