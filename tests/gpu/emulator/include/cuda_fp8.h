// e4m3 as CUDA names it.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_CUDA_FP8_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_CUDA_FP8_H_

#include <cstdint>

#include "tests/gpu/emulator/language.h"

using __nv_fp8_storage_t = unsigned char;
using __nv_fp8x2_storage_t = unsigned short;
using __nv_fp8x4_storage_t = unsigned int;
enum __nv_saturation_t { __NV_NOSAT, __NV_SATFINITE };
enum __nv_fp8_interpretation_t { __NV_E4M3, __NV_E5M2 };

namespace longleaf::emulator {

// To nearest even; beyond 448, and infinity, to 448; NaN stays NaN.
uint8_t RoundToE4m3(float x);
float FromE4m3(uint8_t bits);

}  // namespace longleaf::emulator

struct __nv_fp8_e4m3 {
  __nv_fp8_e4m3() = default;
  explicit __nv_fp8_e4m3(float value) : __x(longleaf::emulator::RoundToE4m3(value)) {}
  explicit operator float() const { return longleaf::emulator::FromE4m3(__x); }
  __nv_fp8_storage_t __x;
};

// Only what is asked for: saturating, and e4m3.
inline __nv_fp8_storage_t __nv_cvt_float_to_fp8(float x, __nv_saturation_t,
                                                __nv_fp8_interpretation_t) {
  return longleaf::emulator::RoundToE4m3(x);
}
inline __nv_fp8x2_storage_t __nv_cvt_float2_to_fp8x2(float2 v, __nv_saturation_t,
                                                     __nv_fp8_interpretation_t) {
  return static_cast<__nv_fp8x2_storage_t>(longleaf::emulator::RoundToE4m3(v.y) << 8 |
                                           longleaf::emulator::RoundToE4m3(v.x));
}

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_CUDA_FP8_H_
