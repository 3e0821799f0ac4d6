#include "kernels/state_rounding.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/float_types.h"

namespace longleaf::kernels {
namespace {

float RoundRowToI8(const float* x, int64_t d, std::byte* elements) {
  float largest = 0;
  bool possible = true;
  for (int64_t k = 0; k < d; ++k) {
    largest = std::max(largest, std::abs(x[k]));
    possible = possible && std::abs(x[k]) < kLargestRow;  // not so for NaN
  }
  std::fill_n(elements, d, std::byte{0});
  if (!possible) return std::numeric_limits<float>::quiet_NaN();
  if (largest < kSmallestRow) return 0;
  const float inverse = 127.0f / largest;
  for (int64_t k = 0; k < d; ++k) {
    elements[k] = static_cast<std::byte>(static_cast<int8_t>(std::nearbyint(x[k] * inverse)));
  }
  return largest / 127.0f;
}

}  // namespace

float RoundRow(DType type, const float* x, int64_t d, std::byte* elements) {
  if (type == DType::kI8) return RoundRowToI8(x, d, elements);
  for (int64_t k = 0; k < d; ++k) {
    if (type == DType::kBF16) {
      const uint16_t bits = BF16FromFloat(x[k]);
      std::memcpy(elements + 2 * k, &bits, 2);
    } else {
      std::memcpy(elements + 4 * k, x + k, 4);
    }
  }
  return 1;
}

void ReadRow(DType type, const std::byte* elements, float scale, int64_t d, float* x) {
  for (int64_t k = 0; k < d; ++k) {
    x[k] = type == DType::kI8 ? static_cast<float>(static_cast<int8_t>(elements[k])) * scale
                              : LoadElement(elements, type, k);
  }
}

absl::StatusOr<DType> ParseStateType(absl::string_view name) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8}) {
    if (name == NameOf(type)) return type;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("state type \"", name, "\": there are f32, bf16 and int8"));
}

}  // namespace longleaf::kernels
