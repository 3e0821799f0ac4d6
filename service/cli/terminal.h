// What the standard streams are connected to, and writing to them.
#ifndef LONGLEAF_SERVICE_CLI_TERMINAL_H_
#define LONGLEAF_SERVICE_CLI_TERMINAL_H_

#include <string>
#include <string_view>

namespace longleaf::service::cli {

// A terminal that understands "erase the line" and "dim": not with TERM=dumb.
bool IsTerminal(int fd);

// Columns of the terminal behind standard error, now; 80 when it does not say.
int TerminalWidth();

// `text` in dim letters when standard error is a terminal and NO_COLOR is not set.
std::string Dim(const std::string& text);

// Writes at once, unbuffered; errors are dropped, as there is nowhere left to report them.
void WriteError(std::string_view text);

// Writes and flushes, so that an answer appears as it comes. False once writing has failed (a full
// disk); a reader that went away ends the program with SIGPIPE, as usual.
bool WriteOutput(std::string_view text);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_TERMINAL_H_
