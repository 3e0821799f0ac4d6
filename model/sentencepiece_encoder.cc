#include "model/sentencepiece_encoder.h"

#include <sentencepiece_processor.h>

#include <exception>
#include <utility>

namespace longleaf::model {

struct SentencePieceEncoder::Library {
  sentencepiece::SentencePieceProcessor processor;
};

SentencePieceEncoder::SentencePieceEncoder(std::unique_ptr<Library> library)
    : library_(std::move(library)) {}
SentencePieceEncoder::~SentencePieceEncoder() = default;

// The library's double arrays throw, and so does memory that runs out; neither may leave this file.

std::unique_ptr<SentencePieceEncoder> SentencePieceEncoder::Create(const std::string& serialized,
                                                                   std::string* error) try {
  auto library = std::make_unique<Library>();
  const auto status = library->processor.LoadFromSerializedProto(serialized);
  if (!status.ok()) {
    *error = status.message();
    return nullptr;
  }
  return std::unique_ptr<SentencePieceEncoder>(new SentencePieceEncoder(std::move(library)));
} catch (const std::exception& exception) {
  *error = exception.what();
  return nullptr;
}

bool SentencePieceEncoder::Encode(std::string_view normalized, std::vector<EncodedPiece>* out,
                                  std::string* error) const try {
  out->clear();
  sentencepiece::ImmutableSentencePieceText text;
  const auto status = library_->processor.Encode(normalized, text.mutable_proto());
  if (!status.ok()) {
    *error = status.message();
    return false;
  }
  const size_t count = text.pieces_size();
  out->reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const auto piece = text.pieces(static_cast<int>(i));
    out->push_back({static_cast<int32_t>(piece.id()), piece.end()});
  }
  return true;
} catch (const std::exception& exception) {
  *error = exception.what();
  return false;
}

}  // namespace longleaf::model
