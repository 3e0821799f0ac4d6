// Makes backends that run on the CPU. The class itself is in cpu_backend.cc: users need only
// class Backend.
#ifndef LONGLEAF_KERNELS_CPU_CPU_BACKEND_H_
#define LONGLEAF_KERNELS_CPU_CPU_BACKEND_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace longleaf::kernels {

struct CpuOptions {
  int64_t threads = 0;                              // 0: one for each processor
  int64_t state_capacity_bytes = int64_t{1} << 30;  // hard limit of attention state memory
  bool poison_pages = false;  // tests: new pages are full of NaN, so that a stray read shows
};

// The fast backend: oneDNN for matrix products, Highway for the rest, one pool of threads.
// INVALID_ARGUMENT for negative options.
absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(const CpuOptions& options);

// The slow one that says what each operation means (kernels/reference.h); no threads.
absl::StatusOr<std::unique_ptr<Backend>> CreateReferenceBackend(int64_t state_capacity_bytes);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CPU_BACKEND_H_
