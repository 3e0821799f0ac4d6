// Questions from standard input, one per line.
#ifndef LONGLEAF_SERVICE_CLI_LINE_READER_H_
#define LONGLEAF_SERVICE_CLI_LINE_READER_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "service/cli/interrupt.h"

namespace longleaf::service::cli {

// Not thread-safe.
class LineReader {
 public:
  // Does not own `fd`; `interrupt` outlives the reader.
  LineReader(int fd, Interrupt* interrupt) : fd_(fd), interrupt_(interrupt) {}

  // The next line without its end; nothing at the end of input. CANCELLED when interrupted,
  // INVALID_ARGUMENT for a line longer than a megabyte.
  absl::StatusOr<std::optional<std::string>> Next();

 private:
  const int fd_;
  Interrupt* const interrupt_;
  std::string buffer_;
  bool at_end_ = false;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_LINE_READER_H_
