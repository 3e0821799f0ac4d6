// Figures as the tables show them.
#ifndef LONGLEAF_SERVICE_BENCH_FIGURES_H_
#define LONGLEAF_SERVICE_BENCH_FIGURES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "service/bench/bench.h"
#include "service/bench/samples.h"

namespace longleaf::service::bench {

// Three significant digits or all before the point: "0.0123", "1.23", "123", "12345".
std::string Figure(double value);
// Seconds as milliseconds.
std::string Milliseconds(double seconds);

// The columns that every load has: answers, failures, rates, and quantiles of TTFT and ITL in ms.
std::vector<std::string> LoadColumns();
std::vector<std::string> LoadCells(const Measured& measured);
// A line for each reason of failure: "  RESOURCE_EXHAUSTED 12"; empty when there is none.
std::string FailureLines(const std::string& label, const Measurement& measurement);

// Replaces the file.
absl::Status WriteFile(const std::string& path, const std::string& content);

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_FIGURES_H_
