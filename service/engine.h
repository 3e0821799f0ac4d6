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
  int64_t prefill_chunk = 512;         // prompt tokens in a step while nobody waits for a token
  int64_t min_prefill_chunk = 16;      // and beside answers at least
  double max_slowdown = 1.6;           // of answers' steps by reading in them
  int64_t checkpoint_tokens = 16384;   // store a document's state at least this often,
  double checkpoint_seconds = 60;      // and this often
  int64_t max_questions = 256;         // waiting or running
  int64_t max_running_questions = 64;  // of them
  int64_t max_reading_documents = 16;  // documents that share the document part of the steps
  // Called once, on the engine's thread, when the device is broken (Backend::Usable). The engine
  // refuses questions from then on; what is stored is as it was, for the next start.
  std::function<void(const absl::Status&)> device_lost;
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

  // Queues a document whose text of `tokens` tokens is complete. Asked again for one that is queued
  // or being read, it does nothing.
  void ReadDocument(const store::DocumentName& name, int64_t tokens);
  // The document is gone: stops reading it, ends its questions with NOT_FOUND.
  void Forget(const store::DocumentName& name);
  // Queues a question; its events, or why there are none, come through `stream`.
  // RESOURCE_EXHAUSTED with a time to retry, computed from what there is to do, when too many wait,
  // and through the stream when its deadline cannot be met.
  absl::Status Ask(QuestionRequest request, std::shared_ptr<AnswerStream> stream);

  // Documents not yet read, and when one of their places will be free.
  int64_t queued_documents() const;
  double SecondsUntilRoomForDocument() const;
  ProgressBoard& board();
  // Of the device that computes.
  struct Memory {
    int64_t state_bytes = 0;       // pages of live states, shared ones once
    int64_t state_pool_bytes = 0;  // taken from the machine: those, and free ones kept for the next
    int64_t reserved_bytes = 0;  // promised to those who run, and held by states that wait for use
    int64_t weight_bytes = 0;
    int64_t working_bytes = 0;  // activations, and what operations need while they run
  };
  // As of the last step.
  Memory memory() const;

  // Stops reading documents, storing how far they have come; lets questions finish until
  // `deadline`, then ends them with UNAVAILABLE. Returns when all that is done.
  void Drain(std::chrono::steady_clock::time_point deadline);

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_ENGINE_H_
