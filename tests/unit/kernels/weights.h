// Weights in memory as files hold them: any type, on an odd address.
#ifndef LONGLEAF_TESTS_UNIT_KERNELS_WEIGHTS_H_
#define LONGLEAF_TESTS_UNIT_KERNELS_WEIGHTS_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/backend.h"
#include "kernels/float_types.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {

struct Weights {
  Weights(DType element_type, int64_t row_count, int64_t col_count, uint32_t seed, float scale)
      : type(element_type), rows(row_count), cols(col_count) {
    const std::vector<float> exact = RandomFloats(rows * cols, seed, scale);
    bytes.resize(static_cast<size_t>(rows * cols * SizeOf(type)) + 1);
    for (size_t i = 0; i < exact.size(); ++i) {
      char* to = bytes.data() + 1 + i * static_cast<size_t>(SizeOf(type));
      const uint32_t bits = std::bit_cast<uint32_t>(exact[i]);
      if (type == DType::kF32) {
        std::memcpy(to, &bits, 4);
      } else {
        // Any half with a moderate exponent will do for f16; what it means is FloatFromF16.
        const uint16_t half =
            type == DType::kBF16
                ? static_cast<uint16_t>(bits >> 16)
                : static_cast<uint16_t>((bits >> 16 & 0x8000u) | 0x2c00u | (bits >> 11 & 0xfffu));
        std::memcpy(to, &half, 2);
      }
    }
  }
  WeightView view() const { return {bytes.data() + 1, type, rows, cols}; }
  float at(int64_t row, int64_t col) const {
    return LoadElement(bytes.data() + 1, type, row * cols + col);
  }

  DType type;
  int64_t rows, cols;
  std::vector<char> bytes;
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_TESTS_UNIT_KERNELS_WEIGHTS_H_
