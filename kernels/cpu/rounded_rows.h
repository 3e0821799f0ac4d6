// The rules of kernels/state_rounding.h in vectors: the same bits.
#ifndef LONGLEAF_KERNELS_CPU_ROUNDED_ROWS_H_
#define LONGLEAF_KERNELS_CPU_ROUNDED_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"

namespace longleaf::kernels {

// RoundRow of bf16 or i8; `elements` may be unaligned.
float RoundRowFast(DType type, const float* x, int64_t d, std::byte* elements);
// ReadRow of bf16 or i8.
void ReadRowFast(DType type, const std::byte* elements, float scale, int64_t d, float* x);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_ROUNDED_ROWS_H_
