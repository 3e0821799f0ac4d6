#include "model/text_splitter.h"

#include <string_view>

#include "model/utf8.h"

namespace longleaf::model {

TextSplitter::TextSplitter(const SentencePieceModel& model) : join_unknown_(!model.byte_fallback) {
  using PieceType = SentencePieceModel::PieceType;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    // Unused pieces too: BPE builds them on the way to others and takes them apart again.
    if (piece.type != PieceType::kNormal && piece.type != PieceType::kUserDefined &&
        piece.type != PieceType::kUnused) {
      continue;
    }
    std::string_view rest = piece.text;
    Utf8Char last = DecodeUtf8(rest);
    rest.remove_prefix(last.size);
    if (rest.empty() && join_unknown_ && piece.type != PieceType::kUnused) {
      known_.insert(last.code_point);
    }
    while (!rest.empty()) {
      const Utf8Char next = DecodeUtf8(rest);
      rest.remove_prefix(next.size);
      joined_.insert(Key(last.code_point, next.code_point));
      last = next;
    }
  }
  for (uint32_t a = 0; a < kSmall; ++a) {
    for (uint32_t b = 0; b < kSmall; ++b) {
      const char32_t before = a < 128 ? a : kSpaceCodePoint;
      const char32_t after = b < 128 ? b : kSpaceCodePoint;
      const bool unknown_run = join_unknown_ && !known_.contains(before) && !known_.contains(after);
      small_joined_[a * kSmall + b] = joined_.contains(Key(before, after)) || unknown_run;
    }
  }
}

}  // namespace longleaf::model
