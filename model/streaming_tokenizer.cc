#include "model/streaming_tokenizer.h"

#include <algorithm>
#include <utility>

#include "model/sentencepiece_model.h"
#include "model/sentencepiece_normalizer.h"
#include "model/text_splitter.h"

namespace longleaf::model {
namespace {

// Bytes taken at a time, so that a huge chunk is not copied whole.
constexpr size_t kSliceBytes = 32 << 10;
constexpr size_t kMaxCachedBytes = 48;
constexpr size_t kMaxCachedSegments = 8192;

}  // namespace

StreamingTokenizer::StreamingTokenizer(const Tokenizer* tokenizer, Start start, int64_t first_byte)
    : tokenizer_(tokenizer),
      validator_(first_byte),
      dummy_space_due_(start == Start::kFirst && tokenizer->model_->add_dummy_prefix),
      after_space_(start == Start::kFirst && tokenizer->model_->remove_extra_whitespaces),
      raw_offset_(first_byte),
      split_point_(first_byte) {}

absl::Status StreamingTokenizer::Feed(std::string_view chunk, std::vector<Token>* out) {
  while (failed_.ok() && !chunk.empty()) {
    const std::string_view slice = chunk.substr(0, kSliceBytes);
    chunk.remove_prefix(slice.size());
    failed_ = validator_.Feed(slice);
    if (!failed_.ok()) break;
    raw_.append(slice);
    const auto complete = static_cast<size_t>(validator_.complete_bytes() - raw_offset_);
    failed_ = Advance(complete, /*end_of_text=*/false, out);
  }
  return failed_;
}

absl::Status StreamingTokenizer::Finish(std::vector<Token>* out) {
  if (!failed_.ok()) return failed_;
  failed_ = validator_.Finish();
  if (!failed_.ok()) return failed_;
  failed_ = Advance(raw_.size(), /*end_of_text=*/true, out);
  if (!failed_.ok()) return failed_;
  if (tokenizer_->model_->remove_extra_whitespaces) {
    while (segment_.ends_with(kSpaceSymbol)) {
      segment_.resize(segment_.size() - kSpaceSymbol.size());
      origins_.resize(segment_.size());
    }
  }
  failed_ = EmitSegment(raw_offset_, out);
  return failed_;
}

absl::Status StreamingTokenizer::Advance(size_t complete, bool end_of_text,
                                         std::vector<Token>* out) {
  const SentencePieceNormalizer& normalizer = *tokenizer_->normalizer_;
  const std::string_view raw(raw_.data(), complete);
  size_t at = 0;
  absl::Status status;
  while (at < raw.size() && status.ok()) {
    const int64_t origin = raw_offset_ + static_cast<int64_t>(at);
    if (normalizer.identity()) {
      const size_t size = DecodeUtf8(raw.substr(at)).size;
      status = PutMatch(raw.substr(at, size), origin, out);
      at += size;
    } else {
      if (!end_of_text && raw.size() - at < normalizer.look_ahead()) break;
      const SentencePieceNormalizer::Match match = normalizer.Next(raw.substr(at));
      status = PutMatch(match.out, origin, out);
      at += match.consumed;
    }
  }
  raw_.erase(0, at);
  raw_offset_ += static_cast<int64_t>(at);
  return status;
}

absl::Status StreamingTokenizer::PutMatch(std::string_view text, int64_t origin,
                                          std::vector<Token>* out) {
  const SentencePieceModel& model = *tokenizer_->model_;
  bool may_split = !after_space_ && !segment_.empty();
  if (model.remove_extra_whitespaces) {
    while (after_space_ && text.starts_with(' ')) text.remove_prefix(1);
    if (text.empty()) return absl::OkStatus();
    after_space_ = text.ends_with(' ');
  }
  const auto append = [&](char32_t code_point, std::string_view bytes) {
    segment_.append(bytes);
    origins_.insert(origins_.end(), bytes.size(), origin);
    last_ = code_point;
  };
  while (!text.empty()) {
    Utf8Char c = DecodeUtf8(text);
    std::string_view bytes = text.substr(0, c.size);
    text.remove_prefix(c.size);
    if (model.escape_whitespaces && bytes == " ") {
      c.code_point = kSpaceCodePoint;
      bytes = kSpaceSymbol;
    }
    if (dummy_space_due_) {
      dummy_space_due_ = false;
      may_split = false;
      append(model.escape_whitespaces ? kSpaceCodePoint : U' ',
             model.escape_whitespaces ? kSpaceSymbol : " ");
    }
    if (may_split && (segment_.size() >= kMaxSegmentBytes ||
                      (tokenizer_->splitter_->IsSafe(last_, c.code_point) &&
                       // Spaces at the end of the text are to go, all of them.
                       !(model.remove_extra_whitespaces && last_ == kSpaceCodePoint)))) {
      if (absl::Status status = EmitSegment(origin, out); !status.ok()) return status;
    }
    // Reading can go on only where a match begins.
    may_split = false;
    append(c.code_point, bytes);
  }
  return absl::OkStatus();
}

absl::Status StreamingTokenizer::EmitSegment(int64_t end_byte, std::vector<Token>* out) {
  const auto put = [&](const EncodedPiece& piece) {
    out->push_back({piece.id, piece.end < segment_.size() ? origins_[piece.end] : end_byte});
  };
  const bool small = segment_.size() <= kMaxCachedBytes;
  const auto cached = small ? cache_.find(segment_) : cache_.end();
  if (cached != cache_.end()) {
    for (const EncodedPiece& piece : cached->second) put(piece);
  } else if (!segment_.empty()) {
    std::string error;
    if (!tokenizer_->encoder_->Encode(segment_, &pieces_, &error)) {
      return absl::InternalError("sentencepiece: " + error);
    }
    for (const EncodedPiece& piece : pieces_) put(piece);
    if (small) {
      if (cache_.size() >= kMaxCachedSegments) cache_.clear();
      cache_.emplace(segment_, pieces_);
    }
  }
  segment_.clear();
  origins_.clear();
  split_point_ = end_byte;
  return absl::OkStatus();
}

}  // namespace longleaf::model
