// UTF-8 as RFC 3629 defines it: shortest form, no surrogates, nothing above U+10FFFF. The one place
// that decides whether bytes from a client, a file or a model are text.
#ifndef LONGLEAF_MODEL_UTF8_H_
#define LONGLEAF_MODEL_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace longleaf::model {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

// How a byte sequence begins.
enum class Utf8Prefix {
  kComplete,    // a whole character
  kIncomplete,  // could become one with more bytes
  kInvalid,     // never
};

struct Utf8Char {
  Utf8Prefix state;
  char32_t code_point;  // kComplete only
  size_t size;          // bytes: of the character; kIncomplete: all that was given; kInvalid: 1
};

// The first character of `bytes`, which must not be empty. Never reads past its end.
Utf8Char DecodeUtf8(std::string_view bytes);

// Appends one code point (not a surrogate, at most 0x10FFFF).
void AppendUtf8(char32_t code_point, std::string* out);

// INVALID_ARGUMENT "not UTF-8 at byte N" unless it is, whole.
absl::Status CheckUtf8(std::string_view bytes);
bool IsValidUtf8(std::string_view bytes);

// Checks a stream that arrives in pieces; a character may be cut by the end of a piece. Not
// thread-safe; one per stream. A few bytes of state.
class Utf8Validator {
 public:
  // `first_byte` is the stream offset of the first byte fed, for the errors.
  explicit Utf8Validator(int64_t first_byte = 0) : offset_(first_byte) {}

  // INVALID_ARGUMENT "not UTF-8 at byte N" with N the offset of the first byte of the bad
  // character. Once failed, every later call fails the same way.
  absl::Status Feed(std::string_view chunk);
  // The same if the stream ends inside a character.
  absl::Status Finish() const;

  // Bytes that form whole characters so far, first_byte included; -1 once failed.
  int64_t complete_bytes() const { return bad_ >= 0 ? -1 : offset_; }

 private:
  absl::Status Error(int64_t at) const;

  int64_t offset_;        // of the first byte not yet part of a whole character
  char pending_[4] = {};  // [pending_size_] the beginning of a character
  size_t pending_size_ = 0;
  int64_t bad_ = -1;  // offset of the bad character, or -1
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_UTF8_H_
