// A request's sampling parameters and its own stream of random numbers. The choice itself is made
// by the backend (Backend::Sample); stop strings are stop_matcher.h's.
#ifndef LONGLEAF_MODEL_SAMPLER_H_
#define LONGLEAF_MODEL_SAMPLER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/backend.h"

namespace longleaf::model {

// The defaults are greedy decoding. A plain value.
struct SamplingParams {
  static constexpr int64_t kMaxTopLogprobs = 20;
  static constexpr float kMaxTemperature = 100;
  static constexpr float kMaxRepetitionPenalty = 100;

  int64_t max_tokens = 256;         // >= 1
  float temperature = 0;            // [0, kMaxTemperature]; 0: always the likeliest token
  int64_t top_k = 0;                // >= 0; 0: no limit
  float top_p = 1;                  // (0, 1]
  float min_p = 0;                  // [0, 1)
  float repetition_penalty = 1;     // (0, kMaxRepetitionPenalty]; of tokens of the answer so far
  std::optional<uint64_t> seed;     // none: one is drawn, and Sampler::seed() tells it
  std::optional<int64_t> logprobs;  // none: not reported; n: and the n likeliest others, 0..20

  struct Violation {
    std::string field;        // "top_p"
    std::string description;  // "is 1.5; it must be above 0 and at most 1"
  };
  // The first field outside its range, if any.
  std::optional<Violation> FindViolation() const;
  // INVALID_ARGUMENT "field description" for it.
  absl::Status Validate() const;
};

// Number `index` of the stream of `seed`, uniform in [0, 1): the top 53 bits of
//   mix(mix(seed) + (index + 1) * 0x9E3779B97F4A7C15)
// where mix is the output function of SplitMix64 (Steele, Lea, Flood 2014). Integer arithmetic and
// one exact scaling, so that every machine and compiler gives the same number.
double UniformOf(uint64_t seed, int64_t index);

// The requests of one answer, token by token. Not thread-safe.
class Sampler {
 public:
  // `params` must be valid (Validate).
  explicit Sampler(const SamplingParams& params);

  uint64_t seed() const { return seed_; }
  int64_t accepted() const { return accepted_; }
  // How to choose the next token. Asking twice gives the same. Valid until the next Accept.
  kernels::SampleRequest Next() const;
  // The token that was chosen.
  void Accept(int32_t token);

 private:
  SamplingParams params_;
  uint64_t seed_ = 0;
  int64_t accepted_ = 0;
  std::vector<int32_t> penalised_;  // tokens of the answer; kept only where there is a penalty
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_SAMPLER_H_
