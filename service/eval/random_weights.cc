#include "service/eval/random_weights.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>

#include "service/eval/tensor_file.h"

namespace longleaf::service::eval {
namespace {

constexpr int64_t kQuantiles = 65536;

// Solves Phi(x) = p by Newton's method; p in (0, 0.5].
double NormalQuantile(double p) {
  double x = -std::sqrt(-2 * std::log(p));
  for (int step = 0; step < 40; ++step) {
    const double error = 0.5 * std::erfc(-x / std::numbers::sqrt2) - p;
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
    const double change = error / density;
    x -= change;
    if (std::abs(change) < 1e-12) break;
  }
  return x;
}

uint16_t EncodeBF16(float value) {  // round to nearest, ties to even; value is finite
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

uint16_t EncodeF16(float value) {  // as above; |value| below 65504, tiny values become zero
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const int32_t exponent = static_cast<int32_t>((bits >> 23) & 0xFF) - 127 + 15;
  if (exponent <= 0) return static_cast<uint16_t>(sign);
  const uint32_t mantissa = bits & 0x7FFFFF;
  uint32_t half = (static_cast<uint32_t>(exponent) << 10) | (mantissa >> 13);
  const uint32_t rest = mantissa & 0x1FFF;
  if (rest > 0x1000 || (rest == 0x1000 && (half & 1) != 0)) ++half;
  return static_cast<uint16_t>(sign | half);
}

// Four values from each random number.
template <typename T>
void FillFrom(const std::vector<T>& table, SplitMix64 random, absl::Span<std::byte> out) {
  const size_t count = out.size() / sizeof(T);
  std::byte* to = out.data();
  for (size_t i = 0; i < count; i += 4) {
    const uint64_t bits = random.Next();
    T four[4];
    for (size_t k = 0; k < 4; ++k) four[k] = table[(bits >> (16 * k)) & 0xFFFF];
    const size_t bytes = (count - i < 4 ? count - i : 4) * sizeof(T);
    std::memcpy(to, four, bytes);
    to += bytes;
  }
}

}  // namespace

uint32_t EncodeElement(const std::string& dtype, float value) {
  if (dtype == "BF16") return EncodeBF16(value);
  if (dtype == "F16") return EncodeF16(value);
  return std::bit_cast<uint32_t>(value);
}

std::vector<int32_t> RandomTokens(int64_t count, int64_t vocab, uint64_t seed) {
  SplitMix64 random(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = static_cast<int32_t>(3 + random.Below(vocab - 3));
  return tokens;
}

RandomWeights::RandomWeights() : quantiles_(kQuantiles) {
  for (int64_t i = 0; i < kQuantiles / 2; ++i) {
    const double x = NormalQuantile((static_cast<double>(i) + 0.5) / kQuantiles);
    quantiles_[static_cast<size_t>(i)] = static_cast<float>(x);
    quantiles_[static_cast<size_t>(kQuantiles - 1 - i)] = static_cast<float>(-x);
  }
}

void RandomWeights::Fill(uint64_t seed, const std::string& dtype, float scale,
                         absl::Span<std::byte> out) const {
  if (TensorElementBytes(dtype) == 4) {
    std::vector<uint32_t> table(kQuantiles);
    for (size_t i = 0; i < table.size(); ++i)
      table[i] = EncodeElement(dtype, scale * quantiles_[i]);
    FillFrom(table, SplitMix64(seed), out);
  } else {
    std::vector<uint16_t> table(kQuantiles);
    for (size_t i = 0; i < table.size(); ++i) {
      table[i] = static_cast<uint16_t>(EncodeElement(dtype, scale * quantiles_[i]));
    }
    FillFrom(table, SplitMix64(seed), out);
  }
}

}  // namespace longleaf::service::eval
