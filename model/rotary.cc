#include "model/rotary.h"

#include <cmath>
#include <numbers>

namespace longleaf::model {
namespace {

double Scale(const RotaryScaling& scaling, double frequency) {
  switch (scaling.kind) {
    case RotaryScaling::Kind::kNone:
      return frequency;
    case RotaryScaling::Kind::kLinear:
      return frequency / scaling.factor;
    case RotaryScaling::Kind::kLlama3:
      break;
  }
  const double wavelength = 2 * std::numbers::pi / frequency;
  const double original = static_cast<double>(scaling.original_context);
  if (wavelength > original / scaling.low_freq_factor) {
    return frequency / scaling.factor;
  }
  if (wavelength < original / scaling.high_freq_factor) {
    return frequency;
  }
  const double keep = (original / wavelength - scaling.low_freq_factor) /
                      (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - keep) * frequency / scaling.factor + keep * frequency;
}

}  // namespace

kernels::Rotary MakeRotary(const Config& config, int64_t first_position) {
  kernels::Rotary rotary;
  rotary.first_position = first_position;
  const double d = static_cast<double>(config.head_dim);
  for (int64_t k = 0; k < config.head_dim; k += 2) {
    const double frequency = 1.0 / std::pow(config.rope_theta, static_cast<double>(k) / d);
    rotary.inverse_frequencies.push_back(Scale(config.rope_scaling, frequency));
  }
  return rotary;
}

}  // namespace longleaf::model
