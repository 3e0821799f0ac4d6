// The yardstick for prefill on a GPU: a large matrix product by the same backend.
#ifndef LONGLEAF_SERVICE_EVAL_DEVICE_MATMUL_H_
#define LONGLEAF_SERVICE_EVAL_DEVICE_MATMUL_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace longleaf::service::eval {

// Floating-point operations per second of [size, size] x [size, size], both of random numbers, with
// weights in `format`: the best of a few repeats.
absl::StatusOr<double> MeasureDeviceMatmul(kernels::Backend& backend, kernels::WeightFormat format,
                                           int64_t size);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_DEVICE_MATMUL_H_
