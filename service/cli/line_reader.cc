#include "service/cli/line_reader.h"

#include <unistd.h>

#include <array>
#include <cerrno>

#include "absl/status/status.h"

namespace longleaf::service::cli {
namespace {

constexpr size_t kLongestLine = 1 << 20;

}  // namespace

absl::StatusOr<std::optional<std::string>> LineReader::Next() {
  for (;;) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos || (at_end_ && !buffer_.empty())) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end == std::string::npos ? end : end + 1);
      return std::optional<std::string>(std::move(line));
    }
    if (at_end_) {
      return std::optional<std::string>();
    }
    if (buffer_.size() > kLongestLine) {
      return absl::InvalidArgumentError("a question is longer than a megabyte");
    }
    if (absl::Status ready = interrupt_->WaitForInput(fd_); !ready.ok()) {
      return ready;
    }
    std::array<char, 4096> bytes;
    const ssize_t n = read(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    at_end_ = n <= 0;
    buffer_.append(bytes.data(), static_cast<size_t>(n > 0 ? n : 0));
  }
}

}  // namespace longleaf::service::cli
