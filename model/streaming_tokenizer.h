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
#include "model/tokenizer.h"
#include "model/utf8.h"

namespace longleaf::model {

// Not thread-safe. The tokenizer must outlive it.
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
  // text after it. It trails the bytes fed by at most kMaxPendingBytes.
  int64_t split_point() const { return split_point_; }

  static constexpr int64_t kMaxPendingBytes = 64 << 10;

 private:
  struct CachedToken {
    int32_t id;
    uint32_t end;  // in normalized bytes of the segment
  };

  absl::Status Advance(bool end_of_text, std::vector<Token>* out);
  void Take(std::string_view normalized, int64_t origin);
  absl::Status Put(char32_t code_point, std::string_view bytes, int64_t origin,
                   std::vector<Token>* out);
  absl::Status EmitSegment(int64_t end_byte, std::vector<Token>* out);

  const Tokenizer* tokenizer_;
  Utf8Validator validator_;
  absl::Status failed_;
  bool dummy_space_due_;          // before the first character
  bool skip_spaces_;              // the model drops repeated spaces, and one was just written
  int64_t raw_offset_;            // of raw_'s first byte
  std::string raw_;               // bytes taken, not yet normalized: less than one rule's length
  std::string segment_;           // normalized text since the last split
  std::vector<int64_t> origins_;  // [segment_.size()] offset of the character a byte came from
  char32_t last_ = 0;             // last character of segment_
  int64_t split_point_;
  // Tokens of short segments already seen; words repeat. Cleared when full.
  absl::flat_hash_map<std::string, std::vector<CachedToken>> cache_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_STREAMING_TOKENIZER_H_
