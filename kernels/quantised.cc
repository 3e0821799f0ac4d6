// The scalar rules of quantised weights.
#include "kernels/quantised.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/float_types.h"

namespace longleaf::kernels {
namespace {

// The nearest integer to x in lo .. hi; lo for what is not a number.
int Nearest(float x, float lo, float hi) {
  const float rounded = std::nearbyint(x);
  return static_cast<int>(rounded > lo ? std::min(rounded, hi) : lo);
}

float Largest(const float* x, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(x[i]));
  return largest;
}

}  // namespace

float QuantiseI8(const float* x, int64_t count, int8_t* q) {
  const float largest = Largest(x, count);
  if (!(largest >= kSmallestGroup)) {
    std::fill_n(q, count, int8_t{0});
    return 0;
  }
  const float inverse = 127.0f / largest;
  for (int64_t i = 0; i < count; ++i) {
    q[i] = static_cast<int8_t>(Nearest(x[i] * inverse, -127, 127));
  }
  return largest / 127.0f;
}

float ScaleOfI4(const float* x, int64_t count, float largest) {
  if (!(largest >= kSmallestGroup)) return 0;
  for (int64_t i = 0; i < count; ++i) {
    if (std::abs(x[i]) == largest) return FloatFromBF16(BF16FromFloat(x[i] / -8.0f));
  }
  return 0;
}

float QuantiseI4(const float* x, int64_t count, uint8_t* q) {
  const float scale = ScaleOfI4(x, count, Largest(x, count));
  if (scale == 0) {
    std::fill_n(q, count, uint8_t{8});
    return 0;
  }
  for (int64_t i = 0; i < count; ++i) {
    q[i] = static_cast<uint8_t>(Nearest(x[i] / scale + 8.0f, 0, 15));
  }
  return scale;
}

uint8_t E4M3FromFloat(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint8_t sign = static_cast<uint8_t>(bits >> 24 & 0x80);
  const float size = std::abs(x);
  if (std::isnan(x)) return sign | 0x7f;
  if (size >= 448) return sign | 0x7e;
  // Below 2^-6 the numbers are multiples of 2^-9. From there on the step is 2^-3 of the power of
  // two below; a fraction that rounds up to the next power carries into the exponent.
  if (size < 0x1p-6f) return sign | static_cast<uint8_t>(std::nearbyint(size * 0x1p9f));
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t rounded = (magnitude + 0x7ffff + (magnitude >> 20 & 1)) >> 20;
  return sign | static_cast<uint8_t>(std::min(rounded - (120u << 3), 0x7eu));
}

float FloatFromE4M3(uint8_t bits) {
  const uint32_t exponent = bits >> 3 & 0xfu, fraction = bits & 7u;
  float size = exponent == 0 ? static_cast<float>(fraction) * 0x1p-9f
                             : std::bit_cast<float>((exponent + 120) << 23 | fraction << 20);
  if ((bits & 0x7f) == 0x7f) size = std::numeric_limits<float>::quiet_NaN();
  return (bits & 0x80) != 0 ? -size : size;
}

float QuantiseFP8(const float* x, int64_t count, uint8_t* q) {
  if (!std::all_of(x, x + count, [](float v) { return std::isfinite(v); })) {
    std::fill_n(q, count, uint8_t{0});
    return std::numeric_limits<float>::quiet_NaN();
  }
  const float largest = Largest(x, count);
  if (!(largest >= kSmallestGroup)) {
    std::fill_n(q, count, uint8_t{0});
    return 0;
  }
  const float inverse = 448.0f / largest;
  for (int64_t i = 0; i < count; ++i) q[i] = E4M3FromFloat(x[i] * inverse);
  return largest / 448.0f;
}

void RoundForProduct(WeightFormat format, bool as_weights, int64_t count, float* x) {
  if (format == WeightFormat::kBF16) {
    for (int64_t i = 0; i < count; ++i) x[i] = FloatFromBF16(BF16FromFloat(x[i]));
    return;
  }
  if (format == WeightFormat::kFP8) {
    std::vector<uint8_t> q(static_cast<size_t>(count));
    const float scale = QuantiseFP8(x, count, q.data());
    for (int64_t i = 0; i < count; ++i) x[i] = FloatFromE4M3(q[static_cast<size_t>(i)]) * scale;
    return;
  }
  const int64_t group = GroupOf(format);
  if (group == 0) return;
  for (int64_t begin = 0; begin < count; begin += group) {
    const int64_t size = std::min(group, count - begin);
    float* const from = x + begin;
    if (as_weights && format == WeightFormat::kI4) {
      uint8_t q[kMostGroup];
      const float scale = QuantiseI4(from, size, q);
      for (int64_t i = 0; i < size; ++i) from[i] = static_cast<float>(q[i] - 8) * scale;
    } else {
      int8_t q[kMostGroup];
      const float scale = QuantiseI8(from, size, q);
      for (int64_t i = 0; i < size; ++i) from[i] = static_cast<float>(q[i]) * scale;
    }
  }
}

}  // namespace longleaf::kernels
