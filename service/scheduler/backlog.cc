#include "service/scheduler/backlog.h"

#include <algorithm>
#include <cmath>

namespace longleaf::service {
namespace {

// Of running means: the last so many observations count, about.
constexpr double kNewStep = 1.0 / 32;
constexpr double kNewAnswer = 1.0 / 16;
// Of the tokens of questions that are there, this part is read before those of one that comes: the
// least served come first, and some wait for their document. As the simulator shows.
constexpr double kTokensAhead = 0.25;
constexpr double kQuestionsAhead = 0.5;  // of those that wait for a place
// A longer answer than any limit allows; keeps sums finite.
constexpr double kMaxAnswerTokens = 1e9;

double Positive(int64_t value) { return static_cast<double>(std::max<int64_t>(0, value)); }

void Follow(double& mean, double value, double part) {
  mean = mean == 0 ? value : mean + part * (value - mean);
}

}  // namespace

void Backlog::Rate::Add(double some_tokens, double some_seconds) {
  tokens += kNewStep * (some_tokens - tokens);
  seconds += kNewStep * (some_seconds - seconds);
}

double Backlog::Rate::per_second() const { return seconds > 0 ? tokens / seconds : 0; }

void Backlog::Observe(int64_t answers, int64_t prompt_tokens, double seconds) {
  if (!std::isfinite(seconds) || seconds <= 0 || answers < 0 || prompt_tokens < 0) {
    return;
  }
  if (answers > 0) {
    // A stall is no trend.
    Follow(step_seconds_, step_seconds_ == 0 ? seconds : std::min(seconds, 8 * step_seconds_),
           kNewStep);
  }
  if (prompt_tokens > 0) {
    (answers > 0 ? beside_answers_ : alone_).Add(static_cast<double>(prompt_tokens), seconds);
  }
}

void Backlog::AnswerEnded(int64_t tokens) {
  Follow(answer_tokens_, std::clamp(static_cast<double>(tokens), 1.0, kMaxAnswerTokens),
         kNewAnswer);
}

bool Backlog::knows() const { return alone_.seconds > 0 || beside_answers_.seconds > 0; }

double Backlog::ReadingRate(bool beside_answers) const {
  const double alone = alone_.per_second();
  const double beside = beside_answers_.per_second();
  if (alone == 0 || beside == 0) {
    return std::max(alone, beside);
  }
  return beside_answers ? std::min(alone, beside) : alone;
}

double Backlog::SecondsToFirstToken(const Load& load, int64_t question_tokens,
                                    int64_t rebuild_tokens) const {
  if (!knows()) {
    return 0;
  }
  const double rate = ReadingRate(load.answers > 0);
  const double documents_ahead = Positive(load.document_tokens);
  const double rebuild = Positive(rebuild_tokens);
  // Documents share: of the others, as much is read meanwhile as of this one.
  const double document_tokens =
      rebuild > 0 ? rebuild + std::min(documents_ahead, rebuild * Positive(load.documents)) : 0;
  // Questions leave a quarter to documents, as long as there are any.
  const double asked = kTokensAhead * Positive(load.question_tokens) + Positive(question_tokens);
  const double beside_asked = std::min(asked / 3, std::max(0.0, documents_ahead - document_tokens));
  const double reading = rate > 0 ? (asked + beside_asked + document_tokens) / rate : 0;
  // Places fall free at an even pace.
  const double before = Positive(load.answers) +
                        kQuestionsAhead * Positive(load.waiting_questions) + 1 -
                        Positive(std::max<int64_t>(1, load.max_answers));
  const double place =
      answer_tokens_ * step_seconds_ / Positive(std::max<int64_t>(1, load.max_answers));
  return std::max(0.0, before) * place + reading + step_seconds_;
}

double Backlog::SecondsToQuestionSlot(const Load& load) const {
  if (!knows()) {
    return 0;
  }
  const double places = Positive(std::max<int64_t>(1, load.max_answers));
  const bool full = load.waiting_questions > 0 || load.answers >= load.max_answers;
  const double rate = ReadingRate(load.answers > 0);
  const double answering = full ? answer_tokens_ * step_seconds_ / places : 0;
  // Where reading is what they wait for, a place falls free when one of them has been read.
  const double reading = rate > 0 ? Positive(load.question_tokens) / places / rate : 0;
  return std::max(answering, reading);
}

double Backlog::SecondsToDocumentSlot(const Load& load) const {
  if (!knows()) {
    return 0;
  }
  const double rate = ReadingRate(load.answers > 0);
  const double first =
      std::min(Positive(load.document_tokens),
               Positive(load.shortest_document_tokens) * std::max(1.0, Positive(load.documents)));
  return rate > 0 ? (first + Positive(load.question_tokens)) / rate : 0;
}

}  // namespace longleaf::service
