// When to try again, and how long to wait before.
#ifndef LONGLEAF_SERVICE_CLI_RETRY_H_
#define LONGLEAF_SERVICE_CLI_RETRY_H_

#include <grpcpp/support/status.h>

#include "absl/time/time.h"
#include "service/cli/interrupt.h"

namespace longleaf::service::cli {

// Counts failures in a row. Waits between tries grow from a quarter of a second to eight seconds,
// with jitter so that many clients of one restarted server do not come back together; a longer
// RetryInfo of the server is heeded up to a minute.
class Retry {
 public:
  explicit Retry(int most_tries) : most_tries_(most_tries) {}

  // Whether `status` is worth another try; sleeps first. False as well when interrupted, or when
  // the tries or the time until `deadline` are used up.
  bool Again(const grpc::Status& status, absl::Time deadline, Interrupt* interrupt);
  // Something got done: start counting anew.
  void Reset() { failures_ = 0; }

 private:
  const int most_tries_;
  int failures_ = 0;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_RETRY_H_
