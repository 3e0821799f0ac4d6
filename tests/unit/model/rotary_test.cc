#include "model/rotary.h"

#include <cmath>
#include <numbers>

#include "gtest/gtest.h"

namespace longleaf::model {
namespace {

Config ConfigOf(RotaryScaling scaling) {
  Config config;
  config.head_dim = 64;
  config.rope_theta = 500000;
  config.rope_scaling = scaling;
  return config;
}

TEST(Rotary, PlainFrequencies) {
  const kernels::Rotary rotary = MakeRotary(ConfigOf({}), 7);
  ASSERT_EQ(rotary.inverse_frequencies.size(), 32u);
  EXPECT_EQ(rotary.first_position, 7);
  for (size_t k = 0; k < 32; ++k) {
    EXPECT_DOUBLE_EQ(rotary.inverse_frequencies[k],
                     std::pow(500000.0, -2.0 * static_cast<double>(k) / 64));
  }
}

TEST(Rotary, LinearDividesAll) {
  const kernels::Rotary plain = MakeRotary(ConfigOf({}));
  const kernels::Rotary scaled =
      MakeRotary(ConfigOf({.kind = RotaryScaling::Kind::kLinear, .factor = 4}));
  for (size_t k = 0; k < 32; ++k) {
    EXPECT_DOUBLE_EQ(scaled.inverse_frequencies[k], plain.inverse_frequencies[k] / 4);
  }
}

// Short wavelengths are kept, long ones divided, those between lie between and never turn back.
TEST(Rotary, Llama3DividesLongWavelengthsOnly) {
  const RotaryScaling scaling = {.kind = RotaryScaling::Kind::kLlama3,
                                 .factor = 8,
                                 .low_freq_factor = 1,
                                 .high_freq_factor = 4,
                                 .original_context = 8192};
  const kernels::Rotary plain = MakeRotary(ConfigOf({}));
  const kernels::Rotary scaled = MakeRotary(ConfigOf(scaling));
  int kept = 0;
  int divided = 0;
  int blended = 0;
  for (size_t k = 0; k < 32; ++k) {
    const double wavelength = 2 * std::numbers::pi / plain.inverse_frequencies[k];
    const double ratio = scaled.inverse_frequencies[k] / plain.inverse_frequencies[k];
    if (wavelength < 8192 / 4.0) {
      EXPECT_DOUBLE_EQ(ratio, 1);
      ++kept;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(ratio, 1 / 8.0);
      ++divided;
    } else {
      const double keep = (8192 / wavelength - 1) / 3;
      EXPECT_NEAR(ratio, keep + (1 - keep) / 8, 1e-12);
      ++blended;
    }
  }
  EXPECT_GT(kept, 0);
  EXPECT_GT(divided, 0);
  EXPECT_GT(blended, 0);
}

}  // namespace
}  // namespace longleaf::model
