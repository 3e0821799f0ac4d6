// What the client's exit status means; --help says the same.
#ifndef LONGLEAF_SERVICE_CLI_EXIT_CODE_H_
#define LONGLEAF_SERVICE_CLI_EXIT_CODE_H_

namespace longleaf::service::cli {

enum ExitCode : int {
  kOk = 0,
  kRefused = 1,      // the server said no, or could not; or the output could not be written
  kUsage = 2,        // wrong arguments, or a local file that cannot be read
  kUnreachable = 3,  // no connection to the server, or it was lost
  kNotFound = 4,     // no such document
  kTryLater = 5,     // not ready: still being read, queue full, draining, deadline passed
  kInterrupted = 130,
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_EXIT_CODE_H_
