#include "service/eval/device_matmul.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <vector>

#include "service/eval/random_weights.h"

namespace longleaf::service::eval {
namespace {

constexpr int kRepeats = 5;
constexpr int kProducts = 8;  // of a repeat: the device is asked for the result once

// Random rows of few bits: large enough for any format, and cheap to make.
std::vector<uint16_t> RandomBF16(int64_t count) {
  SplitMix64 random(11);
  std::vector<uint16_t> values(static_cast<size_t>(count));
  for (uint16_t& value : values) {
    const uint64_t bits = random.Below(1 << 16);
    // Sign and mantissa at random, of magnitude 1/64 to 1/16.
    value = static_cast<uint16_t>((bits & 0x80ff) | 0x3c80);
  }
  return values;
}

}  // namespace

absl::StatusOr<double> MeasureDeviceMatmul(kernels::Backend& backend, kernels::WeightFormat format,
                                           int64_t size) {
  const std::vector<uint16_t> values = RandomBF16(size * size);
  const kernels::WeightView view{values.data(), kernels::DType::kBF16, size, size};
  auto matrix = backend.PackMatrix({&view, 1}, kernels::Epilogue::kNone, format);
  if (!matrix.ok()) return matrix.status();
  auto in = backend.Allocate(size, size);
  if (!in.ok()) return in.status();
  auto out = backend.Allocate(size, size);
  if (!out.ok()) return out.status();
  // Rows of the table itself are as random as anything.
  std::vector<int32_t> tokens(static_cast<size_t>(size));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i);
  if (absl::Status status = backend.Embed(view, tokens, (*in)->tensor()); !status.ok()) {
    return status;
  }

  std::vector<float> row(static_cast<size_t>(size));
  double best = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kProducts; ++i) {
      absl::Status status = backend.Linear(**matrix, (*in)->tensor(), {}, (*out)->tensor());
      if (!status.ok()) return status;
    }
    absl::Status status = backend.ToHost((*out)->tensor().Rows(1), row.data());  // waits for all
    if (!status.ok()) return status;
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const double n = static_cast<double>(size);
    best = std::max(best, 2 * n * n * n * kProducts / seconds);
  }
  return best;
}

}  // namespace longleaf::service::eval
