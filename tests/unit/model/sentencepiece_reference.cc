#include "tests/unit/model/sentencepiece_reference.h"

#include <sentencepiece_processor.h>

namespace longleaf::model {

struct SentencePieceReference::Library {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceReference::SentencePieceReference() : library_(std::make_unique<Library>()) {}
SentencePieceReference::~SentencePieceReference() = default;

std::unique_ptr<SentencePieceReference> SentencePieceReference::Load(const std::string& bytes,
                                                                     bool dummy_prefix) {
  std::unique_ptr<SentencePieceReference> made(new SentencePieceReference);
  // Messages that are appended merge: normalizer_spec (field 3) { add_dummy_prefix (3): false }.
  const std::string merged = dummy_prefix ? bytes : bytes + std::string("\x1A\x02\x18\x00", 4);
  if (!made->library_->processor.LoadFromSerializedProto(merged).ok()) return nullptr;
  return made;
}

std::vector<std::pair<int32_t, int64_t>> SentencePieceReference::Encode(
    const std::string& text) const {
  const auto encoded = library_->processor.EncodeAsImmutableProto(text);
  std::vector<std::pair<int32_t, int64_t>> tokens;
  for (const auto& piece : encoded.pieces()) tokens.emplace_back(piece.id(), piece.end());
  return tokens;
}

std::string SentencePieceReference::Decode(const std::vector<int32_t>& ids) const {
  return library_->processor.DecodeIds(ids);
}

std::vector<std::string> SentencePieceReference::TextPieces() const {
  const auto& p = library_->processor;
  std::vector<std::string> pieces;
  for (int id = 0; id < p.GetPieceSize(); ++id) {
    if (p.IsControl(id) || p.IsUnknown(id) || p.IsByte(id)) continue;
    std::string piece = p.IdToPiece(id);
    for (size_t at = 0; (at = piece.find("\xE2\x96\x81", at)) != piece.npos;) {
      piece.replace(at, 3, " ");
    }
    pieces.push_back(piece);
  }
  return pieces;
}

}  // namespace longleaf::model
