// Element-wise operations on one row, vectorised with Highway's run-time dispatch. Plain functions
// on plain memory: shapes and threads are the caller's business.
#ifndef LONGLEAF_KERNELS_CPU_ELEMENTWISE_H_
#define LONGLEAF_KERNELS_CPU_ELEMENTWISE_H_

#include <cstdint>

#include "kernels/backend.h"

namespace longleaf::kernels {

// The instruction set in use, for people: "AVX3".
const char* InstructionSet();

// `count` elements of f32, bf16 or f16, possibly unaligned, to f32. Exact.
void ToFloat(const void* from, DType type, int64_t count, float* to);  // to [count]

// out = x / sqrt(mean(x^2) + epsilon) * weight. All [count].
void NormRow(const float* x, const float* weight, float epsilon, int64_t count, float* out);

// gate = silu(gate) * up. Both [count].
void SiluGate(float* gate, const float* up, int64_t count);

// Turns the pairs (x[k], x[k + half]) by the angles given as cosine and sine [half].
void RotateHead(float* x, const float* cosine, const float* sine, int64_t half);  // x [2 * half]

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_ELEMENTWISE_H_
