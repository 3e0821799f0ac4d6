#include "service/cli/progress_bar.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/cli/quantity.h"

namespace longleaf::service::cli {
namespace {

constexpr absl::Duration kFrameInterval = absl::Milliseconds(100);
constexpr absl::Duration kLineInterval = absl::Seconds(10);
constexpr absl::Duration kRateSpan = absl::Seconds(10);
// A rate from a shorter span than this would jump about.
constexpr absl::Duration kLeastRateSpan = absl::Milliseconds(300);
constexpr int kLeastBar = 10;
constexpr int kMostBar = 40;

std::string Amount(const ProgressFrame& frame) {
  const bool bytes = frame.unit == ProgressUnit::kBytes;
  const auto format = [&](int64_t n) {
    return bytes ? FormatBytes(static_cast<double>(n)) : FormatCount(n);
  };
  std::string text = format(frame.done);
  if (frame.total > 0) {
    absl::StrAppend(&text, bytes ? " of " : "/", format(frame.total));
  }
  return bytes ? text : text + " tokens";
}

std::string Rate(const ProgressFrame& frame) {
  return absl::StrCat(frame.unit == ProgressUnit::kBytes
                          ? FormatBytes(frame.rate)
                          : FormatCount(std::llround(std::min(frame.rate, 1e15))),
                      "/s");
}

double Share(const ProgressFrame& frame) {
  return std::clamp(static_cast<double>(frame.done) / static_cast<double>(frame.total), 0.0, 1.0);
}

// Percent, amount, rate, time left, each after two spaces: as many of them as fit.
std::string Figures(const ProgressFrame& frame, int width) {
  std::vector<std::string> parts;
  if (frame.total > 0) {
    // Rounded down: 100% is said only when everything is done.
    parts.push_back(absl::StrFormat("%3d%%", static_cast<int>(Share(frame) * 100)));
  }
  parts.push_back(Amount(frame));
  if (frame.rate > 0) {
    parts.push_back(Rate(frame));
  }
  if (frame.left.has_value() && frame.done < frame.total) {
    parts.push_back(absl::StrCat(FormatSpan(*frame.left), " left"));
  }
  std::string figures;
  for (const std::string& part : parts) {
    if (static_cast<int>(figures.size() + 2 + part.size()) > width) {
      break;
    }
    absl::StrAppend(&figures, "  ", part);
  }
  return figures;
}

}  // namespace

std::string FormatProgress(const ProgressFrame& frame, int width) {
  const std::string figures = Figures(frame, width - static_cast<int>(frame.label.size()));
  std::string line = frame.label;
  // Two spaces and two brackets around the bar.
  const int room = width - static_cast<int>(line.size() + figures.size()) - 4;
  if (frame.total > 0 && room >= kLeastBar) {
    const int bar = std::min(room, kMostBar);
    const int full = static_cast<int>(Share(frame) * bar);
    std::string cells(static_cast<size_t>(full), '=');
    if (full > 0 && full < bar) {
      cells.back() = '>';
    }
    cells.resize(static_cast<size_t>(bar), ' ');
    absl::StrAppend(&line, "  [", cells, "]");
  }
  line += figures;
  return line.substr(0, static_cast<size_t>(std::max(width, 0)));
}

std::string FormatProgressLine(const ProgressFrame& frame) {
  return frame.label + Figures(frame, std::numeric_limits<int>::max());
}

void RateMeter::Add(absl::Duration now, int64_t done) {
  if (!samples_.empty() && done < samples_.back().second) {
    samples_.clear();
  }
  // The oldest sample stays until a second one is as old, so that the span never shrinks to
  // nothing.
  while (samples_.size() > 1 && now - samples_[1].first > kRateSpan) {
    samples_.pop_front();
  }
  // Enough samples for a smooth rate; a fast caller does not grow the queue.
  if (samples_.size() > 1 && now - samples_[samples_.size() - 2].first < kFrameInterval) {
    samples_.back() = {now, done};
  } else {
    samples_.emplace_back(now, done);
  }
}

double RateMeter::PerSecond() const {
  if (samples_.size() < 2) {
    return 0;
  }
  const absl::Duration span = samples_.back().first - samples_.front().first;
  if (span < kLeastRateSpan) {
    return 0;
  }
  return static_cast<double>(samples_.back().second - samples_.front().second) /
         absl::ToDoubleSeconds(span);
}

ProgressBar::ProgressBar(std::string label, ProgressUnit unit, Surface surface)
    : label_(std::move(label)),
      unit_(unit),
      surface_(std::move(surface)),
      begin_(surface_.now()),
      // A terminal shows at once that something is going on; a log is spared what is short.
      next_frame_(surface_.style == Style::kLines ? begin_ + kLineInterval : begin_) {}

ProgressBar::~ProgressBar() { Finish(""); }

void ProgressBar::Update(int64_t done, int64_t total, std::optional<absl::Duration> left) {
  if (surface_.style == Style::kNone) {
    return;
  }
  const absl::Duration now = surface_.now();
  meter_.Add(now, done);
  if (now < next_frame_) {
    return;
  }
  ProgressFrame frame{label_, unit_, done, total, meter_.PerSecond(), left};
  if (!left.has_value() && frame.rate > 0) {
    frame.left = absl::Seconds(static_cast<double>(total - done) / frame.rate);
  }
  if (surface_.style == Style::kLines) {
    surface_.write(FormatProgressLine(frame) + "\n");
    next_frame_ = now + kLineInterval;
  } else {
    // The last column stays free: some terminals wrap when it is written.
    surface_.write("\r" + FormatProgress(frame, surface_.width() - 1) + "\x1b[K");
    next_frame_ = now + kFrameInterval;
    drawn_ = true;
  }
}

void ProgressBar::Finish(const std::string& line) {
  if (drawn_) {
    surface_.write("\r\x1b[K");
    drawn_ = false;
  }
  if (!line.empty() && surface_.style != Style::kNone) {
    surface_.write(line + "\n");
  }
}

}  // namespace longleaf::service::cli
