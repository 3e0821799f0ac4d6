// e4m3: a sign, four bits of exponent with a bias of 7, three of mantissa; no infinities.
#include <cuda_fp8.h>

#include <bit>
#include <cmath>

namespace longleaf::emulator {

uint8_t RoundToE4m3(float x) {
  const auto sign = static_cast<uint8_t>(std::signbit(x) ? 0x80 : 0);
  if (std::isnan(x)) return static_cast<uint8_t>(sign | 0x7f);
  const float magnitude = std::fabs(x);
  if (magnitude >= 448) return static_cast<uint8_t>(sign | 0x7e);
  // Below 2^-6 the step is 2^-9, above it an eighth of the power of two below.
  const int exponent = magnitude < 0x1p-6f ? -6 : std::ilogb(magnitude);
  const auto steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 3 - exponent)));
  // 8 steps of one exponent are the power of two; 16, the next: the carry is right by itself.
  const int bits = steps < 8 ? steps : ((exponent + 7) << 3) + steps - 8;
  return static_cast<uint8_t>(sign | bits);
}

float FromE4m3(uint8_t bits) {
  const int exponent = bits >> 3 & 0xf, mantissa = bits & 7;
  if ((bits & 0x7f) == 0x7f) return std::nanf("");
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(mantissa), -9)
                              : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

}  // namespace longleaf::emulator
