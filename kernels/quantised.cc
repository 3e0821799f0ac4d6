#include "kernels/quantised.h"

#include <algorithm>
#include <cmath>

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

void RoundForProduct(WeightFormat format, bool as_weights, int64_t count, float* x) {
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
