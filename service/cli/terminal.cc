#include "service/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace longleaf::service::cli {
namespace {

bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

bool IsTerminal(int fd) {
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && term != nullptr && std::strcmp(term, "dumb") != 0;
}

int TerminalWidth() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  return 80;
}

std::string Dim(const std::string& text) {
  const char* no_color = std::getenv("NO_COLOR");
  if (!IsTerminal(STDERR_FILENO) || (no_color != nullptr && *no_color != '\0')) {
    return text;
  }
  return "\x1b[2m" + text + "\x1b[0m";
}

void WriteError(std::string_view text) { WriteAll(STDERR_FILENO, text); }

bool WriteOutput(std::string_view text) { return WriteAll(STDOUT_FILENO, text); }

}  // namespace longleaf::service::cli
