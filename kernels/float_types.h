// Element types of weight files to f32, one value at a time: the meaning that faster conversions
// must reproduce bit for bit.
#ifndef LONGLEAF_KERNELS_FLOAT_TYPES_H_
#define LONGLEAF_KERNELS_FLOAT_TYPES_H_

#include <cstdint>

#include "kernels/backend.h"

namespace longleaf::kernels {

float FloatFromBF16(uint16_t bits);
float FloatFromF16(uint16_t bits);  // IEEE 754 binary16, subnormals, infinities and NaN included

// Element `index` of an array of f32, bf16 or f16, which need not be aligned.
float LoadElement(const void* data, DType type, int64_t index);

// The bits of the bfloat16 nearest to x, ties to even; beyond the largest infinity, NaN for NaN.
uint16_t BF16FromFloat(float x);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_FLOAT_TYPES_H_
