// Ctrl-C: the call in progress is cancelled, so that the server stops at once; whoever waits for
// input or for time to pass is woken; the program then ends by itself with what it has to say.
#ifndef LONGLEAF_SERVICE_CLI_INTERRUPT_H_
#define LONGLEAF_SERVICE_CLI_INTERRUPT_H_

#include <grpcpp/client_context.h>

#include <atomic>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace longleaf::service::cli {

// Thread-safe. One per process; lives until the process ends, as does its thread.
class Interrupt {
 public:
  // Takes SIGINT over for the whole process. Call before any other thread exists: they inherit the
  // signal mask. A second Ctrl-C that finds the first one not yet acted upon ends the process.
  static Interrupt* Install();

  bool requested() const { return requested_.load(); }
  // After an interactive prompt has dealt with it.
  void Clear();

  // Sleeps; true if interrupted before or meanwhile.
  bool Sleep(absl::Duration duration);
  // Waits until `fd` has input or is at its end; CANCELLED if interrupted, DEADLINE_EXCEEDED after
  // `timeout`.
  absl::Status WaitForInput(int fd, absl::Duration timeout = absl::InfiniteDuration());

  // While it lives, an interrupt cancels `context`; one that came before cancels it at once.
  class Guard {
   public:
    Guard(Interrupt* interrupt, grpc::ClientContext* context);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Interrupt* const interrupt_;
  };

 private:
  Interrupt();
  void Watch();

  std::atomic<bool> requested_{false};
  int wake_fd_ = -1;  // an eventfd, readable while requested_
  // Of the pointer, which the watching thread follows, and of changes to the flag with its eventfd.
  std::mutex mutex_;
  grpc::ClientContext* context_ = nullptr;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_INTERRUPT_H_
