// The texts that the random clients upload, with questions; and the answers that were got, which
// must be the same ones whoever asks, however the state came about.
#ifndef LONGLEAF_TESTS_SOAK_LIBRARY_H_
#define LONGLEAF_TESTS_SOAK_LIBRARY_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernels/mutex.h"
#include "service/eval/facts.h"
#include "tests/soak/calls.h"
#include "tests/soak/link.h"

namespace longleaf::soak {

// A small generator with known results everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  // 0 .. below-1
  int64_t Below(int64_t below);
  bool OneIn(int64_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

struct Text {
  std::string bytes;
  std::string sha256;  // raw
  std::vector<service::eval::Fact> facts;
};

// Immutable but for its answers; thread-safe.
//
// Texts come in pairs, of which the second goes on where the first ends, so that states share
// prefixes. Several clients upload the same ones, so that they share whole states.
class Library {
 public:
  // Most texts have a few KB; one in five has about `largest` bytes.
  Library(uint64_t seed, int64_t texts, int64_t largest, Tally* tally);

  int64_t size() const { return static_cast<int64_t>(texts_.size()); }
  const Text& text(int64_t i) const { return texts_[static_cast<size_t>(i)]; }

  // Compares an answer to question `fact` of text `i`, seen up to `visible` tokens, with the one
  // that was got before, or keeps it as the first. Counts; a difference is a finding, unless the
  // model itself was undecided where they part (rounding depends on how a text was cut into steps).
  void CheckAnswer(int64_t i, int64_t fact, int64_t visible, const AskResult& answer);
  // The same for the beginning of an answer that was broken off.
  void CheckBeginning(int64_t i, int64_t fact, int64_t visible, const AskResult& answer);

  // The built-in model finds four of five facts in these texts; with a wrong state, that is the
  // same wrong one every time, hardly any. A finding when it is less than half.
  void JudgeTruth() const;

 private:
  using Key = std::array<int64_t, 3>;
  struct Answer {
    std::string text;
    std::vector<int32_t> tokens;
    std::vector<float> margins;
  };
  void Compare(const Key& key, const Answer& before, const AskResult& now, bool whole);

  std::vector<Text> texts_;
  Tally* const tally_;
  Mutex mutex_;
  std::map<Key, Answer> answers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longleaf::soak

#endif  // LONGLEAF_TESTS_SOAK_LIBRARY_H_
