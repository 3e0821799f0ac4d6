// One run of longleaf-bench, from options to exit status.
#ifndef LONGLEAF_SERVICE_BENCH_RUN_H_
#define LONGLEAF_SERVICE_BENCH_RUN_H_

#include "service/bench/options.h"
#include "service/bench/surface.h"

namespace longleaf::service::bench {

// Returns an ExitCode of service/cli. Errors have been explained on the surface; files of results
// are written also when the run was interrupted or failed half-way.
int RunBench(const Options& options, const Surface& surface);

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_RUN_H_
