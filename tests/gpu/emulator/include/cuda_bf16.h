// bf16 as CUDA names it.
#ifndef LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_CUDA_BF16_H_
#define LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_CUDA_BF16_H_

#include <bit>
#include <cstdint>

#include "tests/gpu/emulator/language.h"

namespace longleaf::emulator {

// To nearest even; NaN stays NaN.
constexpr uint16_t RoundToBf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
constexpr float FromBf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace longleaf::emulator

struct __nv_bfloat16_raw {
  unsigned short x;
};

struct __nv_bfloat16 {
  __nv_bfloat16() = default;
  constexpr __nv_bfloat16(float value) : x(longleaf::emulator::RoundToBf16(value)) {}
  constexpr __nv_bfloat16(__nv_bfloat16_raw raw) : x(raw.x) {}
  constexpr operator float() const { return longleaf::emulator::FromBf16(x); }
  constexpr operator __nv_bfloat16_raw() const { return {x}; }

 private:
  unsigned short x;
};
using nv_bfloat16 = __nv_bfloat16;

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat162() = default;
  constexpr __nv_bfloat162(__nv_bfloat16 low, __nv_bfloat16 high) : x(low), y(high) {}
  __nv_bfloat16 x, y;
};
using nv_bfloat162 = __nv_bfloat162;

constexpr __nv_bfloat16 __float2bfloat16(float x) { return {x}; }
constexpr __nv_bfloat16 __float2bfloat16_rn(float x) { return {x}; }
constexpr float __bfloat162float(__nv_bfloat16 x) { return x; }
constexpr __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
  return __nv_bfloat16_raw{bits};
}
constexpr unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return __nv_bfloat16_raw(x).x; }
constexpr __nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {x, y}; }
constexpr __nv_bfloat162 __float22bfloat162_rn(float2 v) { return {v.x, v.y}; }
constexpr __nv_bfloat162 __float2bfloat162_rn(float x) { return {x, x}; }
constexpr __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
constexpr __nv_bfloat162 make_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
constexpr float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x, v.y}; }
constexpr float __low2float(__nv_bfloat162 v) { return v.x; }
constexpr float __high2float(__nv_bfloat162 v) { return v.y; }
constexpr __nv_bfloat16 __low2bfloat16(__nv_bfloat162 v) { return v.x; }
constexpr __nv_bfloat16 __high2bfloat16(__nv_bfloat162 v) { return v.y; }

#endif  // LONGLEAF_TESTS_GPU_EMULATOR_INCLUDE_CUDA_BF16_H_
