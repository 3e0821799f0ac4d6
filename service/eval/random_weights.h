// Normally distributed weights, fast enough to fill a disk: two hundred million a second.
#ifndef LONGLEAF_SERVICE_EVAL_RANDOM_WEIGHTS_H_
#define LONGLEAF_SERVICE_EVAL_RANDOM_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace longleaf::service::eval {

// A small seeded generator (splitmix64), the same on every machine.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  // Uniform in 0..bound-1 up to a bias below bound / 2^64. Requires bound >= 1.
  int64_t Below(int64_t bound) {
    return static_cast<int64_t>(Next() % static_cast<uint64_t>(bound));
  }

 private:
  uint64_t state_;
};

// Token ids spread over the vocabulary; 0..2 are control tokens as a rule, and left out.
std::vector<int32_t> RandomTokens(int64_t count, int64_t vocab, uint64_t seed);

// Draws from 65,536 equally likely values of N(0, 1): finer than bf16 can tell apart.
class RandomWeights {
 public:
  RandomWeights();

  // Fills `out`, elements of `dtype` ("F32", "BF16" or "F16"), from N(0, scale^2). The same seed
  // gives the same weights.
  void Fill(uint64_t seed, const std::string& dtype, float scale, absl::Span<std::byte> out) const;

 private:
  std::vector<float> quantiles_;  // [65536]
};

// One value in the bits of `dtype`; F32 in all four bytes, the 16-bit types in the lower two.
uint32_t EncodeElement(const std::string& dtype, float value);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_RANDOM_WEIGHTS_H_
