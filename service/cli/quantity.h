// Quantities as people write and read them: durations, byte sizes, counts. For scripts there is
// --json, which has plain numbers; nothing here is meant to be parsed back but ParseDuration.
#ifndef LONGLEAF_SERVICE_CLI_QUANTITY_H_
#define LONGLEAF_SERVICE_CLI_QUANTITY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace longleaf::service::cli {

// "24h", "1h30m", "7d", "1.5s", "500ms": numbers with units d, h, m, s, ms, largest first. Positive
// and finite; INVALID_ARGUMENT otherwise.
absl::StatusOr<absl::Duration> ParseDuration(const std::string& text);

// Two units at most: "3 ms", "0.21 s", "17 s", "2 min 24 s", "1 h 05 min", "3 d 4 h".
std::string FormatSpan(absl::Duration span);

// With thousands separated: "1,234,567".
std::string FormatCount(int64_t count);

// Decimal units with three digits or so: "512 B", "12.3 kB", "1.25 MB".
std::string FormatBytes(double bytes);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_QUANTITY_H_
