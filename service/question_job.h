// One question: its branch of the document's state, and the turning of sampled tokens into events.
#ifndef LONGLEAF_SERVICE_QUESTION_JOB_H_
#define LONGLEAF_SERVICE_QUESTION_JOB_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "model/incremental_decoder.h"
#include "model/sampler.h"
#include "model/stop_matcher.h"
#include "service/answer_stream.h"
#include "service/document_io.h"
#include "service/engine.h"
#include "service/evidence.h"
#include "service/scheduler/token_shares.h"

namespace longleaf::service {

struct LiveDocument;

// Belongs to the engine's thread. The engine moves it through its stages; the job knows nothing of
// other jobs.
class QuestionJob {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Stage {
    kWaiting,   // for its document's state, or for memory
    kReading,   // the question's tokens
    kAnswering  // one token a step
  };

  QuestionJob(QuestionRequest request, std::shared_ptr<AnswerStream> stream,
              const ServedModel* model);

  // What a state that has just become usable means for this question.
  struct Source {
    StateTier tier = StateTier::kMemory;
    int64_t tokens_reused = 0;
    int64_t tokens_prefilled = 0;  // of the document, for this question
    double restore_seconds = 0;
    int64_t prefix_tokens = 0;
    int64_t document_tokens = 0;  // that the state has
    TokenEnds token_ends;
  };
  // Tokens that the question and the longest answer it may get add to a state.
  int64_t TokensAtMost() const;
  // Enters kReading with `branch`.
  void Begin(std::unique_ptr<kernels::State> branch, Source source);
  // Sends the started event and counts what the state saved. Where the state is still being
  // restored and may turn out to be no good, the first step that was committed does so.
  void Announce(Metrics& metrics);
  // Back to kWaiting, for another state. Only before its first step.
  void Rewind();

  // The rows that this question could have in the next step; 0 when it has to sit it out. Only the
  // row that decides a token has an output.
  int64_t RowsWanted() const;
  // The tokens of those rows.
  absl::Span<const int32_t> NextTokens(int64_t rows) const;
  bool WantsOutput(int64_t rows) const;
  // nullptr, or where the step puts the attention of its last row.
  float* AttentionMass(int64_t rows);
  kernels::SampleRequest NextSample();

  // A step with `rows` of this question was committed. `sample` where it had an output. Returns the
  // final status when the answer is complete: OK.
  std::optional<absl::Status> Advance(int64_t rows, const kernels::SampleResult* sample,
                                      Metrics& metrics);

  const QuestionRequest& request() const { return request_; }
  const Flow& flow() const { return flow_; }
  AnswerStream& stream() { return *stream_; }
  Stage stage() const { return stage_; }
  kernels::State* state() { return state_.get(); }

  int64_t tokens_to_read() const;  // of the question
  int64_t answer_tokens() const { return answer_tokens_; }
  std::optional<FinishReason> finish_reason() const { return finish_reason_; }

  // The engine's notes.
  std::shared_ptr<LiveDocument> document;  // held while the question runs: the cache keeps it
  StateRestorePtr restore;                 // what fills the state it began with, until that is live
  StateRestorePtr failed_restore;          // not to be begun with again
  bool held = false;  // it kept others waiting: it sits out until `restore` is done
  int64_t reserved_bytes = 0;
  bool waited_for_state = false;
  std::optional<Clock::time_point> memory_wanted;  // since when it waits for memory
  int64_t deadline_checked_for = -1;  // tokens to be rebuilt when its deadline was last weighed
  bool ended = false;

 private:
  void Emit(std::string text);
  TokenLogprobs Describe(const kernels::SampleResult& sample) const;
  absl::Status Finish(FinishReason reason, Metrics& metrics);

  const QuestionRequest request_;
  const Flow flow_;  // who is charged: the document
  const std::shared_ptr<AnswerStream> stream_;
  const ServedModel* const model_;
  Stage stage_ = Stage::kWaiting;
  std::unique_ptr<kernels::State> state_;
  Source source_;
  bool announced_ = false;  // the started event was sent
  int64_t max_tokens_ = 0;
  bool limited_by_context_ = false;
  std::optional<FinishReason> finish_reason_;
  int64_t read_ = 0;  // question tokens in the state
  model::Sampler sampler_;
  model::IncrementalDecoder decoder_;
  model::StopMatcher stop_;
  std::optional<EvidenceCollector> evidence_;
  std::vector<TokenLogprobs> held_logprobs_;  // of tokens whose text is still held back
  int64_t answer_tokens_ = 0;
  int32_t last_token_ = 0;
  Clock::time_point begun_;
  Clock::time_point first_token_;
  Clock::time_point last_token_time_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_QUESTION_JOB_H_
