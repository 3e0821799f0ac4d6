#include "service/bench/figures.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longleaf::service::bench {

std::string Figure(double value) {
  if (value == 0) {
    return "0";
  }
  const int whole = static_cast<int>(std::floor(std::log10(std::abs(value)))) + 1;
  return absl::StrFormat("%.*f", std::clamp(3 - whole, 0, 6), value);
}

std::string Milliseconds(double seconds) { return Figure(1000 * seconds); }

std::vector<std::string> LoadColumns() {
  return {"answers", "failed",     "answers/s", "tokens/s", "TTFT p50",     "p95 ms",
          "p99 ms",  "ITL p50 ms", "p95 ms",    "p99 ms",   "mean ITL p50", "tokens/pass"};
}

std::vector<std::string> LoadCells(const Measured& measured) {
  const Measurement& m = measured.load;
  std::vector<std::string> cells = {absl::StrCat(m.answered), absl::StrCat(m.failed()),
                                    Figure(m.answers_per_second()), Figure(m.tokens_per_second())};
  for (const Samples* samples : {&m.ttft, &m.itl}) {
    for (const double q : {0.50, 0.95, 0.99}) {
      cells.push_back(samples->count() == 0 ? "-" : Milliseconds(samples->Quantile(q)));
    }
  }
  cells.push_back(m.mean_itl.count() == 0 ? "-" : Milliseconds(m.mean_itl.Quantile(0.5)));
  const double passes = measured.tokens_per_weight_pass();
  cells.push_back(passes == 0 ? "-" : Figure(passes));
  return cells;
}

std::string FailureLines(const std::string& label, const Measurement& measurement) {
  std::string lines;
  for (const auto& [reason, count] : measurement.failures) {
    absl::StrAppend(&lines, label, ": ", count, " failed: ", reason, "\n");
  }
  return lines;
}

absl::Status WriteFile(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  if (!file) {
    return absl::PermissionDeniedError(absl::StrCat("cannot write ", path, ": ", strerror(errno)));
  }
  return absl::OkStatus();
}

}  // namespace longleaf::service::bench
