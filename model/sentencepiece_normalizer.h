// sentencepiece's normalization rules, applied one match at a time so that a stream can be
// normalized with bounded look-ahead and every normalized character knows where it came from. The
// library's own normalizer works on whole texts only and trusts the file's double array.
//
// Spaces (the dummy prefix, removal of repeated ones, U+2581) are the caller's business.
#ifndef LONGLEAF_MODEL_SENTENCEPIECE_NORMALIZER_H_
#define LONGLEAF_MODEL_SENTENCEPIECE_NORMALIZER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "model/sentencepiece_model.h"

namespace longleaf::model {

// Immutable and thread-safe; keeps its own copy of what it needs.
class SentencePieceNormalizer {
 public:
  // INVALID_ARGUMENT if the compiled rules cannot be what they claim.
  static absl::StatusOr<std::unique_ptr<SentencePieceNormalizer>> Create(
      const SentencePieceModel& model);

  // Every character stands for itself, and Next need not be called.
  bool identity() const { return identity_; }

  // Next decides rightly when it is given at least this many bytes, or the end of the text.
  size_t look_ahead() const { return look_ahead_; }

  struct Match {
    size_t consumed;       // bytes of the input, >= 1, whole characters
    std::string_view out;  // what stands for them: UTF-8, may be empty; lives as long as the
                           // normalizer and the input
  };
  // The longest match at the front of `input`, which is valid UTF-8 and not empty: a user-defined
  // symbol (which stays as it is), else a rule, else one character.
  Match Next(std::string_view input) const;

  // Longest left side of a rule that is looked for. Unicode's own rules stay under 24 bytes.
  static constexpr size_t kMaxRuleBytes = 64;

 private:
  SentencePieceNormalizer() = default;
  size_t LongestSymbol(std::string_view input) const;
  Match LongestRule(std::string_view input) const;

  bool identity_ = true;
  size_t look_ahead_ = 1;
  std::vector<uint32_t> trie_;  // a double array, as darts-clone lays it out
  std::string replacements_;    // NUL-terminated strings; a rule's value is an offset in here
  absl::flat_hash_set<std::string> symbols_;
  std::vector<size_t> symbol_sizes_;  // distinct sizes of symbols_, falling
  std::array<bool, 256> symbol_begins_ = {};
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_SENTENCEPIECE_NORMALIZER_H_
