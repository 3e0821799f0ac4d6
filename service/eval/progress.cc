#include "service/eval/progress.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "absl/strings/str_format.h"

namespace longleaf::service::eval {

Progress::Progress(std::string label, int64_t total)
    : label_(std::move(label)), total_(total), terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (drawn_) absl::FPrintF(stderr, "\r\033[K");
}

void Progress::Update(int64_t done) {
  const Clock::time_point now = Clock::now();
  if (!terminal_ || now < next_) return;
  next_ = now + std::chrono::milliseconds(100);
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  absl::FPrintF(stderr, "\r\033[K%s  %d of %d", label_, done, total_);
  if (done > 0 && seconds > 0.5 && done < total_) {
    const double left = seconds * static_cast<double>(total_ - done) / static_cast<double>(done);
    absl::FPrintF(stderr, "  %.0f/s  %.0f s left", static_cast<double>(done) / seconds, left);
  }
  std::fflush(stderr);
}

}  // namespace longleaf::service::eval
