// The server's counters, read from its metrics page.
#ifndef LONGLEAF_SERVICE_BENCH_SCRAPE_H_
#define LONGLEAF_SERVICE_BENCH_SCRAPE_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace longleaf::service::bench {

// By name; series of one name are added up, which is right for counters.
using Counters = std::map<std::string, double>;

// A page in Prometheus' text format. Lines that are not understood are skipped.
Counters ParseMetrics(absl::string_view page);

// One GET of http://`address`/metrics, HOST:PORT; at most ten seconds. INVALID_ARGUMENT for an
// address of another form; UNAVAILABLE when there is no such page.
absl::StatusOr<Counters> Scrape(const std::string& address);

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_SCRAPE_H_
