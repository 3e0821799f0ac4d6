// The definition of kernels/sampling.h at a speed fit for vocabularies of 128K: vectorised passes
// over the row, and a sort of the candidates only.
#ifndef LONGLEAF_KERNELS_CPU_FAST_SAMPLING_H_
#define LONGLEAF_KERNELS_CPU_FAST_SAMPLING_H_

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

// Same contract and errors as SampleReference. Thread-safe.
absl::StatusOr<SampleResult> SampleFast(absl::Span<const float> logits,
                                        const SampleRequest& request);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_FAST_SAMPLING_H_
