#include "service/cli/retry.h"

#include <algorithm>
#include <random>

#include "service/cli/status_text.h"

namespace longleaf::service::cli {
namespace {

constexpr absl::Duration kFirstWait = absl::Milliseconds(250);
constexpr absl::Duration kLongestWait = absl::Seconds(8);
constexpr absl::Duration kMostHeeded = absl::Minutes(1);

}  // namespace

bool Retry::Again(const grpc::Status& status, absl::Time deadline, Interrupt* interrupt) {
  if (status.error_code() != grpc::StatusCode::UNAVAILABLE || interrupt->requested() ||
      ++failures_ >= most_tries_) {
    return false;
  }
  absl::Duration wait = std::min(kFirstWait * (1 << std::min(failures_ - 1, 10)), kLongestWait);
  std::random_device device;
  wait *= 0.75 + 0.5 * static_cast<double>(device()) / static_cast<double>(device.max());
  const Failure failure = DecodeFailure(status);
  if (failure.retry_delay.has_value()) {
    wait = std::max(wait, std::min(*failure.retry_delay, kMostHeeded));
  }
  if (absl::Now() + wait >= deadline) {
    return false;
  }
  return !interrupt->Sleep(wait);
}

}  // namespace longleaf::service::cli
