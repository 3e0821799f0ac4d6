// Tokenises a text of any length while it arrives, in memory that does not grow with it.
//
// The tokens are a function of the text alone: equal for every way of cutting it into chunks, and
// equal to Tokenizer::Encode of the whole. After a restart, reading goes on at split_point().
#ifndef LONGLEAF_MODEL_STREAMING_TOKENIZER_H_
#define LONGLEAF_MODEL_STREAMING_TOKENIZER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "model/sentencepiece_encoder.h"
#include "model/tokenizer.h"
#include "model/utf8.h"

namespace longleaf::model {

// Not thread-safe. The tokenizer must outlive it. Holds about a megabyte at most, mostly remembered
// words.
class StreamingTokenizer {
 public:
  // `start` as for Encode. `first_byte` is what the offset of the first byte fed is to be. To
  // resume at a split point S > 0 of the same text: (tokenizer, Start::kContinuation, S), and feed
  // from S.
  StreamingTokenizer(const Tokenizer* tokenizer, Start start, int64_t first_byte = 0);

  // Takes the next bytes and appends the tokens that are now certain. A character may be cut by the
  // end of the chunk. INVALID_ARGUMENT names the offset of the first byte that is not UTF-8; tokens
  // appended before that stand, and every later call fails the same way.
  absl::Status Feed(std::string_view chunk, std::vector<Token>* out);

  // The end of the text: appends the remaining tokens. Call once, last.
  absl::Status Finish(std::vector<Token>* out);

  // Offset up to which the tokens given out cover the text. The tokens after it depend only on the
  // text after it. It trails the bytes fed by a word or so, at most by kMaxSegmentBytes and one
  // character if the model has no normalization rules.
  int64_t split_point() const { return split_point_; }

  // A text without a safe place is cut at the first character after this many normalized bytes.
  // That is the same place for every way the text arrives, but tokens there may differ from those
  // of the uncut text. It takes a run of this length in which all neighbours occur in some piece.
  static constexpr size_t kMaxSegmentBytes = 16 << 10;

 private:
  // Normalizes the first `complete` bytes of raw_, as far as that can be decided.
  absl::Status Advance(size_t complete, bool end_of_text, std::vector<Token>* out);
  // Takes what one match of the normalizer stands for; `origin` is where the match begins.
  absl::Status PutMatch(std::string_view text, int64_t origin, std::vector<Token>* out);
  // Encodes segment_, which covers the text up to end_byte, and begins a new one.
  absl::Status EmitSegment(int64_t end_byte, std::vector<Token>* out);

  const Tokenizer* tokenizer_;
  Utf8Validator validator_;
  absl::Status failed_;
  bool dummy_space_due_;          // before the first character
  bool after_space_;              // the model drops repeated spaces, and one has just been
  int64_t raw_offset_;            // of raw_'s first byte
  std::string raw_;               // bytes taken, not yet normalized: shorter than a slice
  std::string segment_;           // normalized text since the last split
  std::vector<int64_t> origins_;  // [segment_.size()] where the match that gave a byte begins
  char32_t last_ = 0;             // last character of segment_
  int64_t split_point_;
  std::vector<EncodedPiece> pieces_;  // scratch
  // Pieces of short segments already seen, since words repeat. Bounded; cleared when full.
  absl::flat_hash_map<std::string, std::vector<EncodedPiece>> cache_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_STREAMING_TOKENIZER_H_
