// What one stretch of load brought: times as a client sees them, counts, and what failed.
#ifndef LONGLEAF_SERVICE_BENCH_MEASUREMENT_H_
#define LONGLEAF_SERVICE_BENCH_MEASUREMENT_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "service/bench/samples.h"

namespace longleaf::service::bench {

using Json = nlohmann::ordered_json;

// Why a question was not even sent in an open loop, and why one was given up at the end: beside the
// server's reasons in Measurement::failures.
inline constexpr char kClientLimit[] = "CLIENT_LIMIT";
inline constexpr char kUnfinished[] = "UNFINISHED";

// Times in seconds. Questions count where they began; tokens, and the gaps between them, where they
// came: a stall belongs to the stretch that it ends in.
struct Measurement {
  double begin = 0;  // of the stretch, by the load's clock
  double end = 0;

  // From when the question was due (open loop) or sent (closed loop) to its first text; to its end
  // for an answer without text.
  Samples ttft;
  // Between two texts of an answer: what a reader waits. The server joins texts that its client has
  // not taken yet, so one may be several tokens.
  Samples gaps;
  // The same divided by the tokens of the second text where the server says how many they are
  // (--count-tokens; such a text is as many samples).
  Samples itl;
  // An answer's mean, by the server's clock: decode seconds / (tokens - 1).
  Samples mean_itl;
  Samples latency;  // from when it was due or sent to its end
  Samples queue;    // of that, waiting for the engine, by the server's clock

  int64_t asked = 0;
  int64_t answered = 0;
  int64_t question_tokens = 0;     // of the answered, with the prompt's text around them
  int64_t answer_tokens = 0;       // of the answers to these questions
  int64_t tokens = 0;              // that came between begin and end
  int64_t texts = 0;               // messages that brought them
  int64_t first_texts_tokens = 0;  // of `tokens`, those of first texts, which no gap led to
  int64_t most_outstanding = 0;    // questions in flight at once
  std::map<std::string, int64_t> failures;  // by ErrorInfo's reason, else by status code
  std::map<std::string, int64_t> finish_reasons;
  std::map<std::string, int64_t> tiers;  // where the documents' states came from

  double seconds() const { return end - begin; }
  double tokens_per_second() const;
  double answers_per_second() const;
  int64_t failed() const;
};

// {"count", "mean", "p50", "p95", "p99", "max"}; "exact" is false when there were too many samples
// to keep.
Json ToJson(const Samples& samples);
Json ToJson(const Measurement& measurement);

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_MEASUREMENT_H_
