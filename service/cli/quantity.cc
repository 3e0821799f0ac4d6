#include "service/cli/quantity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longleaf::service::cli {
namespace {

struct DurationUnit {
  const char* name;
  double seconds;
};

// Largest first: a duration names its units in this order, each at most once.
constexpr std::array<DurationUnit, 5> kDurationUnits = {
    {{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}, {"ms", 1e-3}}};

// Longer than any document lives, and far inside what a protobuf duration holds.
constexpr double kLongestSeconds = 100.0 * 366 * 86400;

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(const std::string& text) {
  const absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not a duration; write it like 90s, 24h, 1h30m or 7d"));
  double seconds = 0;
  size_t next_unit = 0;
  size_t at = 0;
  while (at < text.size()) {
    const size_t unit_at = text.find_first_not_of("0123456789.", at);
    if (unit_at == std::string::npos || unit_at == at) {
      return wrong;
    }
    const size_t end = std::min(text.find_first_of("0123456789.", unit_at), text.size());
    double number = 0;
    if (!absl::SimpleAtod(text.substr(at, unit_at - at), &number)) {
      return wrong;
    }
    const std::string name = text.substr(unit_at, end - unit_at);
    while (next_unit < kDurationUnits.size() && name != kDurationUnits[next_unit].name) {
      ++next_unit;
    }
    if (next_unit == kDurationUnits.size()) {
      return wrong;
    }
    seconds += number * kDurationUnits[next_unit++].seconds;
    at = end;
  }
  if (!(seconds > 0) || seconds > kLongestSeconds) {
    return wrong;
  }
  return absl::Seconds(seconds);
}

std::string FormatSpan(absl::Duration span) {
  const double exact = absl::ToDoubleSeconds(span);
  if (!std::isfinite(exact)) {
    return exact < 0 ? "0 ms" : "forever";
  }
  if (exact < 0.0995) {
    return absl::StrFormat("%.0f ms", 1000 * std::max(exact, 0.0));
  }
  if (exact < 0.995) {
    return absl::StrFormat("%.2f s", exact);
  }
  if (exact < 9.95) {
    return absl::StrFormat("%.1f s", exact);
  }
  const int64_t seconds = std::llround(std::min(exact, 1e15));
  if (seconds < 60) {
    return absl::StrCat(seconds, " s");
  }
  if (seconds < 3600) {
    return absl::StrFormat("%d min %02d s", seconds / 60, seconds % 60);
  }
  if (seconds < 86400) {
    return absl::StrFormat("%d h %02d min", seconds / 3600, seconds / 60 % 60);
  }
  return absl::StrFormat("%d d %d h", seconds / 86400, seconds / 3600 % 24);
}

std::string FormatCount(int64_t count) {
  std::string digits = absl::StrCat(count);
  const size_t first = digits[0] == '-' ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) {
    at -= 3;
    digits.insert(at, ",");
  }
  return digits;
}

std::string FormatBytes(double bytes) {
  constexpr std::array<const char*, 6> kUnits = {"B", "kB", "MB", "GB", "TB", "PB"};
  if (!(bytes >= 0)) {
    bytes = 0;
  }
  size_t unit = 0;
  // 999.5 and above would print as 1000 of its unit.
  while (bytes >= 999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  const int digits = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
  return absl::StrFormat("%.*f %s", digits, bytes, kUnits[unit]);
}

}  // namespace longleaf::service::cli
