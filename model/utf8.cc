#include "model/utf8.h"

#include <algorithm>
#include <cstring>

namespace longleaf::model {
namespace {

constexpr uint64_t kHighBits = 0x8080808080808080u;

// Bytes at the front of `bytes` that are ASCII, counted eight at a time.
size_t AsciiPrefix(std::string_view bytes) {
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    if ((word & kHighBits) != 0) break;
  }
  while (i < bytes.size() && static_cast<unsigned char>(bytes[i]) < 0x80) ++i;
  return i;
}

}  // namespace

Utf8Char DecodeUtf8(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
  constexpr Utf8Char kBad = {Utf8Prefix::kInvalid, kReplacementCharacter, 1};
  const unsigned char lead = at(0);
  if (lead < 0x80) return {Utf8Prefix::kComplete, lead, 1};
  if (lead < 0xC2 || lead > 0xF4) return kBad;
  const size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t code_point = lead & (0xFFu >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if (i == bytes.size()) return {Utf8Prefix::kIncomplete, kReplacementCharacter, bytes.size()};
    // RFC 3629 section 4: the second byte's range depends on the first, which rules out longer
    // forms, surrogates and code points above U+10FFFF.
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (i == 1) {
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (at(i) < low || at(i) > high) return kBad;
    code_point = (code_point << 6) | (at(i) & 0x3F);
  }
  return {Utf8Prefix::kComplete, code_point, size};
}

void AppendUtf8(char32_t code_point, std::string* out) {
  const auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

absl::Status CheckUtf8(std::string_view bytes) {
  Utf8Validator validator;
  const absl::Status fed = validator.Feed(bytes);
  return fed.ok() ? validator.Finish() : fed;
}

bool IsValidUtf8(std::string_view bytes) { return CheckUtf8(bytes).ok(); }

absl::Status Utf8Validator::Error(int64_t at) const {
  return absl::InvalidArgumentError("not UTF-8 at byte " + std::to_string(at));
}

absl::Status Utf8Validator::Feed(std::string_view chunk) {
  if (bad_ >= 0) return Error(bad_);
  // A character cut by the last chunk goes on with this one's first bytes.
  while (pending_size_ > 0 && !chunk.empty()) {
    pending_[pending_size_++] = chunk.front();
    chunk.remove_prefix(1);
    const Utf8Char c = DecodeUtf8({pending_, pending_size_});
    if (c.state == Utf8Prefix::kInvalid) return Error(bad_ = offset_);
    if (c.state == Utf8Prefix::kComplete) {
      offset_ += static_cast<int64_t>(c.size);
      pending_size_ = 0;
    }
  }
  while (!chunk.empty()) {
    const size_t ascii = AsciiPrefix(chunk);
    offset_ += static_cast<int64_t>(ascii);
    chunk.remove_prefix(ascii);
    if (chunk.empty()) break;
    const Utf8Char c = DecodeUtf8(chunk);
    if (c.state == Utf8Prefix::kInvalid) return Error(bad_ = offset_);
    if (c.state == Utf8Prefix::kIncomplete) {
      pending_size_ = chunk.size();
      std::copy(chunk.begin(), chunk.end(), pending_);
      break;
    }
    offset_ += static_cast<int64_t>(c.size);
    chunk.remove_prefix(c.size);
  }
  return absl::OkStatus();
}

absl::Status Utf8Validator::Finish() const {
  if (bad_ >= 0) return Error(bad_);
  if (pending_size_ > 0) return Error(offset_);
  return absl::OkStatus();
}

}  // namespace longleaf::model
