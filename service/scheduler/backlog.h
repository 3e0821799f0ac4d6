// How long somebody who comes now will wait, from what there is to do and how fast it has been
// going. Behind RetryInfo, ETAs, and the early refusal of deadlines that cannot be met.
//
// Pure arithmetic: no clock, no lock. For one thread.
#ifndef LONGLEAF_SERVICE_SCHEDULER_BACKLOG_H_
#define LONGLEAF_SERVICE_SCHEDULER_BACKLOG_H_

#include <cstdint>

namespace longleaf::service {

// What there is to do now.
struct Load {
  int64_t answers = 0;                   // admitted questions, being read or answered
  int64_t max_answers = 1;               // that may be admitted at once
  int64_t waiting_questions = 0;         // not yet admitted
  int64_t question_tokens = 0;           // of questions, admitted or not, still to be read
  int64_t document_tokens = 0;           // of documents, queued or being read, still to be read
  int64_t shortest_document_tokens = 0;  // what the document that ends first still needs
  int64_t documents = 0;                 // queued or being read
};

class Backlog {
 public:
  // Steps as they happen.
  void Observe(int64_t answers, int64_t prompt_tokens, double seconds);
  // An answer ended after `tokens` tokens.
  void AnswerEnded(int64_t tokens);

  // False until enough has been seen to say anything: then every estimate below is 0.
  bool knows() const;

  // Until a question that comes now, of `question_tokens` tokens, on a document of whose state
  // `rebuild_tokens` tokens have to be read first (0: it is in memory), gets its first token.
  double SecondsToFirstToken(const Load& load, int64_t question_tokens,
                             int64_t rebuild_tokens) const;
  // Until one of the questions' places is free.
  double SecondsToQuestionSlot(const Load& load) const;
  // Until one of the documents' places is free.
  double SecondsToDocumentSlot(const Load& load) const;

 private:
  // Reads per second, lately. Fading sums, so that long steps count for what they are.
  struct Rate {
    double tokens = 0;
    double seconds = 0;

    void Add(double some_tokens, double some_seconds);
    double per_second() const;  // 0: unknown
  };

  // Prompt tokens per second, beside answers or not.
  double ReadingRate(bool beside_answers) const;

  double step_seconds_ = 0;  // running mean over steps with answers
  Rate beside_answers_;
  Rate alone_;
  double answer_tokens_ = 0;  // running mean length of an answer
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_SCHEDULER_BACKLOG_H_
