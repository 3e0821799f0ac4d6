#include "service/cli/interrupt.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <thread>

#include "service/cli/exit_code.h"

namespace longleaf::service::cli {
namespace {

// For poll: milliseconds rounded up, -1 for ever. Long waits are cut, so callers loop.
int PollTimeout(absl::Duration duration) {
  if (duration == absl::InfiniteDuration()) {
    return -1;
  }
  const absl::Duration bounded = std::clamp(duration, absl::ZeroDuration(), absl::Hours(1));
  return static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(bounded, absl::Milliseconds(1))));
}

}  // namespace

Interrupt* Interrupt::Install() {
  static Interrupt* const interrupt = new Interrupt();  // its thread never ends
  return interrupt;
}

Interrupt::Interrupt() : wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([this] { Watch(); }).detach();
}

void Interrupt::Watch() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) {
      continue;
    }
    const std::lock_guard lock(mutex_);
    const uint64_t one = 1;
    if (requested_.exchange(true) || write(wake_fd_, &one, sizeof one) < 0) {
      _exit(kInterrupted);  // the second time, or nobody could be woken
    }
    if (context_ != nullptr) {
      context_->TryCancel();
    }
  }
}

void Interrupt::Clear() {
  const std::lock_guard lock(mutex_);
  uint64_t count = 0;
  while (read(wake_fd_, &count, sizeof count) > 0) {
  }
  requested_.store(false);
}

bool Interrupt::Sleep(absl::Duration duration) {
  const absl::Time end = absl::Now() + duration;
  while (!requested() && absl::Now() < end) {
    pollfd wake = {wake_fd_, POLLIN, 0};
    poll(&wake, 1, PollTimeout(end - absl::Now()));
  }
  return requested();
}

absl::Status Interrupt::WaitForInput(int fd, absl::Duration timeout) {
  const absl::Time end = absl::Now() + timeout;
  for (;;) {
    std::array<pollfd, 2> fds = {{{wake_fd_, POLLIN, 0}, {fd, POLLIN, 0}}};
    const int ready = poll(fds.data(), fds.size(), PollTimeout(end - absl::Now()));
    if (requested()) {
      return absl::CancelledError("interrupted");
    }
    if (ready > 0 && fds[1].revents != 0) {
      return absl::OkStatus();
    }
    if (ready < 0 && errno != EINTR) {
      return absl::UnknownError("poll failed");
    }
    if (absl::Now() >= end) {
      return absl::DeadlineExceededError("no input");
    }
  }
}

Interrupt::Guard::Guard(Interrupt* interrupt, grpc::ClientContext* context)
    : interrupt_(interrupt) {
  const std::lock_guard lock(interrupt_->mutex_);
  interrupt_->context_ = context;
  if (interrupt_->requested()) {
    context->TryCancel();
  }
}

Interrupt::Guard::~Guard() {
  const std::lock_guard lock(interrupt_->mutex_);
  interrupt_->context_ = nullptr;
}

}  // namespace longleaf::service::cli
