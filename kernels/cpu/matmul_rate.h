// The yardstick for prefill: what oneDNN reaches on this machine when nothing else is asked of it.
#ifndef LONGLEAF_KERNELS_CPU_MATMUL_RATE_H_
#define LONGLEAF_KERNELS_CPU_MATMUL_RATE_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace longleaf::kernels {

// Floating-point operations per second of one f32 product [1024, 2048] x [2048, 4096] with packed
// weights, by oneDNN's own parallelism on `threads` threads (0: one for each processor): the best
// of the repeats within about a second. It does not use any Backend.
absl::StatusOr<double> MeasureMatmulRate(int64_t threads);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_MATMUL_RATE_H_
