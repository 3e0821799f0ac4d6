// The matrix instructions of a warp: fragments as kernels/cuda/ptx.h states them.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_MATRIX_OPS_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_MATRIX_OPS_H_

#include <cstdint>

namespace longleaf::emulator {

void LoadMatrices(uint32_t (&r)[4], const void* row, bool transposed);
void MultiplyBf16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

}  // namespace longleaf::emulator

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_MATRIX_OPS_H_
