// Where a text may be cut so that its parts, encoded alone, give the tokens of the whole.
//
// BPE and unigram both only ever form tokens that are pieces of the vocabulary. Where the two
// characters at a place stand side by side in no piece, no token spans the place: BPE finds no
// merge across it, and every path of the unigram lattice passes through it. What remains is that,
// without byte fallback, sentencepiece joins neighbouring unknown characters into one token; so two
// of those are kept together. (Adding scores from the last cut instead of the text's beginning also
// keeps float32 sums of the unigram model exact on long texts, where the library's own drift.)
#ifndef LONGLEAF_MODEL_TEXT_SPLITTER_H_
#define LONGLEAF_MODEL_TEXT_SPLITTER_H_

#include <bitset>
#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "model/sentencepiece_model.h"

namespace longleaf::model {

// Immutable and thread-safe; keeps nothing of the model.
class TextSplitter {
 public:
  // The model with which text is encoded, control markers already marked as such.
  explicit TextSplitter(const SentencePieceModel& model);

  // Whether normalized text may be cut between the characters `before` and `after`.
  bool IsSafe(char32_t before, char32_t after) const {
    const uint32_t a = Small(before);
    const uint32_t b = Small(after);
    if (a < kSmall && b < kSmall) return !small_joined_[a * kSmall + b];
    return !joined_.contains(Key(before, after)) &&
           (!join_unknown_ || known_.contains(before) || known_.contains(after));
  }

 private:
  // ASCII and the space symbol, the characters of most texts, are looked up in a table.
  static constexpr uint32_t kSmall = 129;
  static uint32_t Small(char32_t c) { return c < 128 ? c : c == kSpaceCodePoint ? 128 : kSmall; }
  static uint64_t Key(char32_t a, char32_t b) { return static_cast<uint64_t>(a) << 32 | b; }

  std::bitset<kSmall * kSmall> small_joined_;
  absl::flat_hash_set<uint64_t> joined_;  // pairs that stand side by side in some piece
  bool join_unknown_;                     // unknown characters form one token together
  absl::flat_hash_set<char32_t> known_;   // characters that are a piece; only if join_unknown_
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_TEXT_SPLITTER_H_
