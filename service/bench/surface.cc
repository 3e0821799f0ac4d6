#include "service/bench/surface.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace longleaf::service::bench {

void ProgressLine::Draw(const std::string& text) {
  if (quiet_ || !surface_->terminal) {
    return;
  }
  const auto columns = static_cast<size_t>(std::max(1, surface_->width() - 1));
  surface_->message(absl::StrCat("\r\x1b[K", text.substr(0, columns)));
  drawn_ = true;
}

void ProgressLine::Clear() {
  if (drawn_) {
    surface_->message("\r\x1b[K");
    drawn_ = false;
  }
}

void ProgressLine::Say(const std::string& line) {
  Clear();
  if (!quiet_) {
    surface_->message(absl::StrCat(line, "\n"));
  }
}

}  // namespace longleaf::service::bench
