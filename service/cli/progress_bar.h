// How far an upload or a prefill is: a bar that redraws itself on a terminal, an occasional plain
// line elsewhere. The clock and the sink are given, so that tests can see every frame.
#ifndef LONGLEAF_SERVICE_CLI_PROGRESS_BAR_H_
#define LONGLEAF_SERVICE_CLI_PROGRESS_BAR_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"

namespace longleaf::service::cli {

enum class ProgressUnit { kBytes, kTokens };

struct ProgressFrame {
  std::string label;
  ProgressUnit unit = ProgressUnit::kBytes;
  int64_t done = 0;
  int64_t total = 0;                   // 0: unknown
  double rate = 0;                     // units per second; 0: unknown
  std::optional<absl::Duration> left;  // absent: unknown
};

// One line of at most `width` columns without the newline: label, bar, percent, done/total, rate,
// time left. What does not fit is left out, the bar first, then from the end. ASCII only.
std::string FormatProgress(const ProgressFrame& frame, int width);

// The same for a log: without a bar, as wide as it is.
std::string FormatProgressLine(const ProgressFrame& frame);

// Units per second over the last ten seconds, so that a pause or a change of speed shows.
class RateMeter {
 public:
  // `now` does not go back; `done` less than before starts the measurement anew.
  void Add(absl::Duration now, int64_t done);
  double PerSecond() const;

 private:
  std::deque<std::pair<absl::Duration, int64_t>> samples_;
};

// Not thread-safe.
class ProgressBar {
 public:
  enum class Style { kBar, kLines, kNone };
  struct Surface {
    Style style = Style::kNone;
    std::function<void(std::string_view)> write;  // to the terminal or the log
    std::function<int()> width;                   // columns, asked at every frame
    std::function<absl::Duration()> now;          // since any fixed moment
  };

  ProgressBar(std::string label, ProgressUnit unit, Surface surface);
  // Removes a bar that is still there.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Draws if enough time has passed since the last frame: a tenth of a second; for lines, ten
  // seconds, also before the first. Without `left` the time left is estimated from the rate.
  void Update(int64_t done, int64_t total, std::optional<absl::Duration> left = std::nullopt);
  void set_label(const std::string& label) { label_ = label; }
  // Removes the bar, and writes `line` in its place if it is not empty and the style is not kNone.
  void Finish(const std::string& line);
  absl::Duration elapsed() const { return surface_.now() - begin_; }

 private:
  std::string label_;
  const ProgressUnit unit_;
  const Surface surface_;
  const absl::Duration begin_;
  absl::Duration next_frame_;
  RateMeter meter_;
  bool drawn_ = false;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_PROGRESS_BAR_H_
