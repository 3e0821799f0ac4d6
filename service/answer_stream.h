// The bounded stream of events between the engine, which produces an answer, and the call that
// sends it to its client. Neither ever waits for the other.
#ifndef LONGLEAF_SERVICE_ANSWER_STREAM_H_
#define LONGLEAF_SERVICE_ANSWER_STREAM_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "kernels/mutex.h"
#include "service/progress_board.h"

namespace longleaf::service {

enum class StateTier { kMemory, kDisk, kPrefill };
enum class FinishReason { kEndOfText, kStopString, kMaxTokens, kContextFull };

struct AnswerStarted {
  StateTier tier = StateTier::kMemory;
  int64_t tokens_reused = 0;
  int64_t tokens_prefilled = 0;
  int64_t document_tokens = 0;  // that the answer can see
};

struct TokenCandidate {
  int32_t token = 0;
  std::string text;  // bytes, perhaps a part of a character
  float logprob = 0;
};
struct TokenLogprobs {
  TokenCandidate chosen;
  std::vector<TokenCandidate> top;
};

struct AnswerText {
  std::string text;  // UTF-8
  std::vector<TokenLogprobs> logprobs;
};

// A span of the document's text that the answer attended to.
struct EvidenceSpan {
  int64_t begin_byte = 0;
  int64_t end_byte = 0;
  float weight = 0;
};

struct AnswerFinished {
  FinishReason reason = FinishReason::kEndOfText;
  int64_t document_tokens = 0;
  int64_t question_tokens = 0;
  int64_t answer_tokens = 0;
  int64_t tokens_reused = 0;
  int64_t tokens_prefilled = 0;
  double queue_seconds = 0;
  double restore_seconds = 0;
  double prefill_seconds = 0;
  double first_token_seconds = 0;
  double decode_seconds = 0;
  double total_seconds = 0;
  uint64_t seed = 0;
  std::vector<EvidenceSpan> evidence;
};

using AnswerEvent = std::variant<Progress, AnswerStarted, AnswerText, AnswerFinished>;

// Thread-safe. One producer (the engine), one consumer (the call).
//
// When it is full (a slow reader) the engine leaves the question out of its steps until there is
// room. What waits unread is put together, so that a reader slower than the model has fewer events
// to deal with: a progress event replaces an unread one, so waiting never fills it, and text is
// added to unread text, up to kJoinedBytes in one event.
//
// A small model writes faster than anybody reads, and every message costs processor time that the
// model then lacks: within `text_interval` of the last one, more text is not told to the consumer,
// but kept to be joined, until Flush or another event.
class AnswerStream {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int64_t kJoinedBytes = 4 << 10;
  static constexpr Clock::duration kTextInterval = std::chrono::milliseconds(20);

  // Enough for dozens of tokens with all the log-probabilities that a client can ask for.
  static constexpr int64_t kCapacityBytes = 64 << 10;

  // Events of `capacity_bytes`, with what they hold in memory, may wait to be read.
  explicit AnswerStream(int64_t capacity_bytes = kCapacityBytes,
                        Clock::duration text_interval = Clock::duration(0))
      : capacity_bytes_(capacity_bytes), text_interval_(text_interval) {}

  // ---- consumer
  // `ready` runs (on the producer's thread, or here at once) when there is something to Pop, or
  // the stream is closed, and it did not run for that already: one that was called Pops until
  // nothing is left. It must not block or call back into the stream. Set once.
  void OnReady(std::function<void()> ready);
  std::optional<AnswerEvent> Pop();
  // The final status, once every event has been popped.
  std::optional<absl::Status> Closed() const;
  // The client is gone or out of time: the engine stops the work within one step. After this no
  // `ready` runs any more.
  void Cancel();
  // Runs when a full stream has room again, on the consumer's thread. Set by the engine.
  void OnRoom(std::function<void()> room);

  // ---- producer
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  bool HasRoom() const;
  // Takes the event also when there is no room: a step's events belong together. Nothing comes
  // after Close: what is pushed then is dropped.
  void Push(AnswerEvent event);
  // Tells the consumer of text that was kept back, if its time has come at `now`.
  void Flush(Clock::time_point now);
  void Close(absl::Status status);  // the first status counts

 private:
  // Adds the event to the last unread one; false if it must stand for itself.
  bool Join(AnswerEvent& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const int64_t capacity_bytes_;
  const Clock::duration text_interval_;
  std::atomic<bool> cancelled_{false};
  mutable Mutex mutex_;
  std::deque<AnswerEvent> events_ ABSL_GUARDED_BY(mutex_);
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;   // of events_
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;  // the consumer has yet to find that nothing is left
  Clock::time_point next_text_ ABSL_GUARDED_BY(mutex_);  // until then text is kept back
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> ready_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> room_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_ANSWER_STREAM_H_
