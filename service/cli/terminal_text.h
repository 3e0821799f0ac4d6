// Text of documents and of the model, made safe to show on a terminal. Neither is trusted: an
// escape sequence in them could rewrite the screen, set the clipboard or forge a prompt.
#ifndef LONGLEAF_SERVICE_CLI_TERMINAL_TEXT_H_
#define LONGLEAF_SERVICE_CLI_TERMINAL_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace longleaf::service::cli {

// Turns a stream of bytes into printable UTF-8. Newlines and tabs pass, and a carriage return
// before a newline. Other control characters (C0, DEL, C1), characters that reorder or break lines
// invisibly (bidirectional controls, U+2028, U+2029) and bytes that are not UTF-8 become \x1b or
// \u202e. A character may be cut between two calls of Add.
class TerminalEscaper {
 public:
  std::string Add(std::string_view bytes);
  // What was held back, at the end of the stream.
  std::string Finish();

 private:
  std::string pending_;  // an unfinished character, or a carriage return
};

// For one line: newlines, tabs and carriage returns are escaped as well.
std::string EscapeLine(std::string_view text);

bool IsValidUtf8(std::string_view text);

// How many bytes of `text` are before a character that its end cuts; all of them if it cuts none.
size_t WholeCharacters(std::string_view text);

// Runs of blanks and newlines become one space, and lines of at most `width` bytes are broken at
// spaces; a longer word has a line of its own.
std::vector<std::string> WrapWords(const std::string& text, size_t width);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_TERMINAL_TEXT_H_
