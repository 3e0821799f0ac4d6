// The engine: one thread that owns the backend and every live state, and runs steps. A step is ONE
// ragged batch: the next token of every running question, then tokens of questions being read, then
// of documents being read, up to a budget; the weights are read once a step for everybody in it.
//
// No gRPC here. The disk is only ever touched on the io executor, so a stalled disk delays the
// documents that need it and nothing else.
#ifndef LONGLEAF_SERVICE_ENGINE_H_
#define LONGLEAF_SERVICE_ENGINE_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cache_store/store.h"
#include "model/sampler.h"
#include "model/stop_matcher.h"
#include "service/answer_stream.h"
#include "service/executor.h"
#include "service/metrics.h"
#include "service/progress_board.h"
#include "service/served_model.h"

namespace longleaf::service {

struct EngineOptions {
  int64_t prefill_chunk = 512;        // document tokens in a step while nobody waits
  int64_t interleaved_chunk = 128;    // and while questions are being answered
  int64_t checkpoint_tokens = 16384;  // store a document's state at least this often,
  double checkpoint_seconds = 60;     // and this often
  int64_t max_questions = 256;
  int64_t max_reading_documents = 4;  // documents that share the document part of a step
};

struct QuestionRequest {
  store::DocumentName document;
  std::vector<int32_t> tokens;  // of the question, with the prompt's text around it
  model::SamplingParams sampling;
  std::optional<model::StopMatcher> stop;  // the prompt file's and the request's; always set
  bool strip_leading_space = true;
  bool allow_partial = false;
  int64_t max_evidence = 0;
  std::chrono::steady_clock::time_point arrival;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

// Thread-safe. Destroying it stops at once: questions end with UNAVAILABLE, documents are read on
// after the next start.
class Engine {
 public:
  // None of the pointers is owned; all must outlive the engine.
  Engine(const EngineOptions& options, ServedModel* model, store::Store* store, Executor* io,
         Metrics* metrics);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Queues a document whose text is complete. Asked again for one that is queued or being read, it
  // does nothing.
  void ReadDocument(const store::DocumentName& name);
  // The document is gone: stops reading it, ends its questions with NOT_FOUND.
  void Forget(const store::DocumentName& name);
  // Queues a question; its events, or why there are none, come through `stream`.
  // RESOURCE_EXHAUSTED with a time to retry when too many wait.
  absl::Status Ask(QuestionRequest request, std::shared_ptr<AnswerStream> stream);

  // Documents not yet read, and when one of their places will be free.
  int64_t queued_documents() const;
  double SecondsUntilRoomForDocument() const;
  ProgressBoard& board();
  // Bytes of live states, as of the last step.
  int64_t state_bytes() const;

  // Stops reading documents, storing how far they have come; lets questions finish until
  // `deadline`, then ends them with UNAVAILABLE. Returns when all that is done.
  void Drain(std::chrono::steady_clock::time_point deadline);

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_ENGINE_H_
