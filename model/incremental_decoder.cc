#include "model/incremental_decoder.h"

#include "model/utf8.h"

namespace longleaf::model {

std::string IncrementalDecoder::Push(int32_t id) {
  std::string out;
  const Tokenizer::Rendering piece = tokenizer_->Render(id);
  switch (piece.kind) {
    case Tokenizer::Rendering::Kind::kByte:
      bytes_.push_back(static_cast<char>(piece.byte));
      DrainBytes(/*end=*/false, &out);
      break;
    case Tokenizer::Rendering::Kind::kText:
      DrainBytes(/*end=*/true, &out);
      Deliver(piece.text, &out);
      break;
    case Tokenizer::Rendering::Kind::kNone:
      // As in sentencepiece, a token without text still ends a run of bytes.
      DrainBytes(/*end=*/true, &out);
      break;
  }
  return out;
}

std::string IncrementalDecoder::Flush() {
  std::string out;
  DrainBytes(/*end=*/true, &out);
  at_start_ = true;
  return out;
}

// Gives out the whole characters at the front of bytes_, and at the end of a run of bytes the rest.
void IncrementalDecoder::DrainBytes(bool end, std::string* out) {
  std::string_view rest = bytes_;
  while (!rest.empty()) {
    const Utf8Char c = DecodeUtf8(rest);
    if (c.state == Utf8Prefix::kIncomplete && !end) break;
    const bool whole = c.state == Utf8Prefix::kComplete;
    Deliver(whole ? rest.substr(0, c.size) : kReplacementUtf8, out);
    rest.remove_prefix(whole ? c.size : 1);
  }
  bytes_.erase(0, bytes_.size() - rest.size());
}

void IncrementalDecoder::Deliver(std::string_view text, std::string* out) {
  if (text.empty()) return;
  if (at_start_ && options_.strip_leading_space && text.front() == ' ') text.remove_prefix(1);
  at_start_ = false;
  out->append(text);
}

}  // namespace longleaf::model
