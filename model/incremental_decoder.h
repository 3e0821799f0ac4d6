// Generated ids to text, piece by piece as they come.
//
// Nothing given out is ever taken back, and the parts together are Tokenizer::Decode of all ids:
// UTF-8 is never broken (the bytes of a character spelled in byte tokens are held until it is
// whole; what cannot become one is U+FFFD, one per byte, as sentencepiece does), and no space is
// lost or doubled: a leading space of the first piece belongs to the text, since an answer
// continues a prompt. Prompts that end in "Answer:" want it gone; that is
// DecoderOptions::strip_leading_space.
#ifndef LONGLEAF_MODEL_INCREMENTAL_DECODER_H_
#define LONGLEAF_MODEL_INCREMENTAL_DECODER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "model/tokenizer.h"

namespace longleaf::model {

struct DecoderOptions {
  // Drop one space (exactly one) if the text begins with it.
  bool strip_leading_space = false;
};

// Not thread-safe. The tokenizer must outlive it. Holds at most 3 bytes back.
class IncrementalDecoder {
 public:
  explicit IncrementalDecoder(const Tokenizer* tokenizer, DecoderOptions options = {})
      : tokenizer_(tokenizer), options_(options) {}

  // The text that is certain now, maybe empty. Any id is allowed; those without text give none.
  std::string Push(int32_t id);

  // The end: what was held back, incomplete characters as U+FFFD. Then ready for a new text.
  std::string Flush();

 private:
  void DrainBytes(bool end, std::string* out);
  void Deliver(std::string_view text, std::string* out);

  const Tokenizer* tokenizer_;
  DecoderOptions options_;
  bool at_start_ = true;  // no text delivered yet
  std::string bytes_;     // byte tokens that are not a whole character yet
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_INCREMENTAL_DECODER_H_
