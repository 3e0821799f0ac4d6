// Canonical bytes (backend.h) from and to pages.
#ifndef LONGLEAF_KERNELS_CPU_CANONICAL_H_
#define LONGLEAF_KERNELS_CPU_CANONICAL_H_

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/cpu_state.h"

namespace longleaf::kernels {

// The range has passed CheckRange. `bytes` holds 2 * count * heads * row_bytes(), possibly
// unaligned. ImportPages writes to the pages of PrepareImport, and to the elements of its range
// alone: ranges that do not overlap may be imported by several threads at once, though they share a
// page.
void ExportPages(const CpuState& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                 std::byte* bytes);
void ImportPages(const CpuState& state, int64_t layer, StatePart part, int64_t first, int64_t count,
                 const std::byte* bytes);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CANONICAL_H_
