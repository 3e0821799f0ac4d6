// The modes: each puts its load on the server, prints its table, and adds to the report what it
// measured. When it is interrupted or fails on the way, what there was until then is printed and
// reported before it returns the error.
#ifndef LONGLEAF_SERVICE_BENCH_MODES_H_
#define LONGLEAF_SERVICE_BENCH_MODES_H_

#include "absl/status/status.h"
#include "service/bench/bench.h"
#include "service/bench/measurement.h"

namespace longleaf::service::bench {

// closed and open: one measurement for each number of clients, or rate. Writes --plot.
absl::Status RunSweep(Bench& bench, Json* report);
// ITL of running answers, idle and beside a long prefill.
absl::Status RunInterference(Bench& bench, Json* report);
// One question, N on one document, N on N documents.
absl::Status RunBatching(Bench& bench, Json* report);
// The first token on a document whose state is not in memory.
absl::Status RunCold(Bench& bench, Json* report);

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_MODES_H_
