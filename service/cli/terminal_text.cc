#include "service/cli/terminal_text.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace longleaf::service::cli {
namespace {

struct Decoded {
  enum Kind { kCharacter, kInvalid, kCut } kind;
  size_t bytes;   // of the character; 1 for an invalid byte
  uint32_t code;  // the code point, or the invalid byte
};

// The first character of `text`, which is not empty. kCut: the text ends within a character that is
// valid so far.
Decoded Decode(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) {
    return {Decoded::kCharacter, 1, lead};
  }
  const Decoded invalid = {Decoded::kInvalid, 1, lead};
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : lead >= 0xE0 && lead <= 0xEF ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0) {
    return invalid;
  }
  // The second byte's range excludes overlong forms, surrogates, and what is beyond U+10FFFF.
  const uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  uint32_t code = lead & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) {
      return {Decoded::kCut, i, 0};
    }
    if (byte(i) < (i == 1 ? low : 0x80) || byte(i) > (i == 1 ? high : 0xBF)) {
      return invalid;
    }
    code = code << 6 | (byte(i) & 0x3Fu);
  }
  return {Decoded::kCharacter, length, code};
}

// Controls, and what changes a line's order or its end without being seen.
bool IsUnsafe(uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code <= 0x9F) || code == 0x061C ||
         (code >= 0x200E && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2066 && code <= 0x2069);
}

void AppendEscaped(uint32_t code, std::string* out) {
  switch (code) {
    case '\n':
      *out += "\\n";
      return;
    case '\t':
      *out += "\\t";
      return;
    case '\r':
      *out += "\\r";
      return;
    default:
      if (code < 0x80) {
        absl::StrAppendFormat(out, "\\x%02x", code);
      } else {
        absl::StrAppendFormat(out, "\\u%04x", code);
      }
  }
}

// Appends the first character of `text` to `out`, escaped where needed.
void AppendSafe(std::string_view text, const Decoded& decoded, std::string* out) {
  if (decoded.kind != Decoded::kCharacter) {
    absl::StrAppendFormat(out, "\\x%02x", static_cast<uint8_t>(text[0]));
  } else if (IsUnsafe(decoded.code)) {
    AppendEscaped(decoded.code, out);
  } else {
    out->append(text.substr(0, decoded.bytes));
  }
}

}  // namespace

std::string TerminalEscaper::Add(std::string_view bytes) {
  std::string text = std::move(pending_);
  pending_.clear();
  text += bytes;
  std::string out;
  out.reserve(text.size());
  std::string_view rest = text;
  while (!rest.empty()) {
    const Decoded decoded = Decode(rest);
    const bool carriage_return = rest[0] == '\r';
    if (decoded.kind == Decoded::kCut || (carriage_return && rest.size() == 1)) {
      pending_ = rest;
      break;
    }
    if (rest[0] == '\n' || rest[0] == '\t' || (carriage_return && rest[1] == '\n')) {
      out += rest[0];
    } else {
      AppendSafe(rest, decoded, &out);
    }
    rest.remove_prefix(decoded.bytes);
  }
  return out;
}

std::string TerminalEscaper::Finish() {
  const std::string out = EscapeLine(pending_);
  pending_.clear();
  return out;
}

std::string EscapeLine(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Decoded decoded = Decode(text);
    AppendSafe(text, decoded, &out);
    text.remove_prefix(decoded.kind == Decoded::kCharacter ? decoded.bytes : 1);
  }
  return out;
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const Decoded decoded = Decode(text);
    if (decoded.kind != Decoded::kCharacter) {
      return false;
    }
    text.remove_prefix(decoded.bytes);
  }
  return true;
}

size_t WholeCharacters(std::string_view text) {
  // A cut character has three bytes at most.
  for (size_t tail = 1; tail <= std::min<size_t>(3, text.size()); ++tail) {
    if (Decode(text.substr(text.size() - tail)).kind == Decoded::kCut) {
      return text.size() - tail;
    }
  }
  return text.size();
}

std::vector<std::string> WrapWords(const std::string& text, size_t width) {
  std::vector<std::string> lines;
  for (const absl::string_view word :
       absl::StrSplit(text, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty())) {
    if (lines.empty() || lines.back().size() + 1 + word.size() > width) {
      lines.emplace_back(word);
    } else {
      lines.back() += ' ';
      lines.back().append(word.data(), word.size());
    }
  }
  return lines;
}

}  // namespace longleaf::service::cli
