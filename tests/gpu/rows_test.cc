// Norms, gates, conversions, gathering and embedding on the device.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/embed.h"
#include "kernels/cuda/runtime.h"
#include "kernels/float_types.h"
#include "kernels/quantised.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
// Widths of each kernel, with and without a rest.
constexpr int64_t kWidths[] = {1, 3, 4, 31, 64, 100, 128, 2048, 2052, 2050, 4096, 11008, 16400};

class RowsTest : public testing::Test {
 protected:
  template <typename T>
  DeviceMemory Upload(const std::vector<T>& values) {
    auto memory = DeviceMemory::Allocate(std::ssize(values) * int64_t{sizeof(T)}).value();
    EXPECT_TRUE(Copy(memory.data(), values.data(), memory.bytes(), stream_.get()).ok());
    return memory;
  }
  template <typename T>
  std::vector<T> Download(const void* from, int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    EXPECT_TRUE(Copy(values.data(), from, count * int64_t{sizeof(T)}, stream_.get()).ok());
    EXPECT_TRUE(stream_.Synchronize().ok());
    return values;
  }
  // What `convert` writes for rows of each type, as the product would see it: [rows, cols].
  template <typename Convert>
  std::vector<float> Converted(RowType type, int64_t rows, int64_t cols, const Convert& convert) {
    auto data = DeviceMemory::Allocate(rows * cols * 4).value();
    auto scales = DeviceMemory::Allocate(rows * 4).value();
    const absl::Status status = convert(ProductRows{type, data.data(), scales.as<float>()});
    EXPECT_TRUE(status.ok()) << status;
    if (type == RowType::kF32) return Download<float>(data.data(), rows * cols);
    std::vector<float> values;
    if (type == RowType::kBF16) {
      for (uint16_t bits : Download<uint16_t>(data.data(), rows * cols)) {
        values.push_back(FloatFromBF16(bits));
      }
      return values;
    }
    const std::vector<float> scale = Download<float>(scales.data(), rows);
    for (uint8_t bits : Download<uint8_t>(data.data(), rows * cols)) {
      values.push_back(FloatFromE4M3(bits) * scale[values.size() / static_cast<size_t>(cols)]);
    }
    return values;
  }

  Stream stream_ = Stream::Create().value();
};

WeightFormat FormatOf(RowType type) {
  switch (type) {
    case RowType::kBF16:
      return WeightFormat::kBF16;
    case RowType::kFP8:
      return WeightFormat::kFP8;
    default:
      return WeightFormat::kF32;
  }
}
// Of the largest number of a row: half a step of the type, or a whole one where what was rounded
// differed by itself.
float StepOf(RowType type) {
  return type == RowType::kF32 ? 4 * kEpsilon : type == RowType::kBF16 ? 0x1p-8f : 0x1p-4f;
}

TEST_F(RowsTest, PlainRowsAreRoundedByTheRules) {
  for (RowType type : {RowType::kF32, RowType::kBF16, RowType::kFP8}) {
    for (int64_t cols : kWidths) {
      const int64_t rows = 3;
      std::vector<float> x = RandomFloats(rows * cols, static_cast<uint32_t>(cols), 3);
      std::fill_n(x.begin() + cols, cols, 0.0f);
      const DeviceMemory in = Upload(x);
      const std::vector<float> actual = Converted(type, rows, cols, [&](const ProductRows& to) {
        return RmsNormRows({in.as<float>(), rows, cols}, {}, to, stream_.get());
      });
      for (int64_t r = 0; r < rows; ++r) {
        RoundForProduct(FormatOf(type), false, cols, x.data() + r * cols);
      }
      EXPECT_EQ(actual, x) << static_cast<int>(type) << " " << cols;
    }
  }
}

TEST_F(RowsTest, NormsAreNearTheDefinition) {
  for (RowType type : {RowType::kF32, RowType::kBF16, RowType::kFP8}) {
    for (int64_t cols : kWidths) {
      const int64_t rows = 2;
      const std::vector<float> x = RandomFloats(rows * cols, static_cast<uint32_t>(cols), 3);
      const std::vector<float> w = RandomFloats(cols, 99);
      const DeviceMemory in = Upload(x), weight = Upload(w);
      const RmsNorm norm{{weight.as<float>(), 1, cols}, 1e-5f};
      const std::vector<float> actual = Converted(type, rows, cols, [&](const ProductRows& to) {
        return RmsNormRows({in.as<float>(), rows, cols}, norm, to, stream_.get());
      });
      for (int64_t r = 0; r < rows; ++r) {
        double squares = 0;
        for (int64_t c = 0; c < cols; ++c) {
          squares += std::pow(double{x[static_cast<size_t>(r * cols + c)]}, 2);
        }
        const double factor = 1 / std::sqrt(squares / static_cast<double>(cols) + 1e-5);
        std::vector<float> row;
        for (int64_t c = 0; c < cols; ++c) {
          row.push_back(static_cast<float>(double{x[static_cast<size_t>(r * cols + c)]} * factor *
                                           double{w[static_cast<size_t>(c)]}));
        }
        RoundForProduct(FormatOf(type), false, cols, row.data());
        const std::vector<float> mine(actual.begin() + r * cols, actual.begin() + (r + 1) * cols);
        EXPECT_LE(LargestGap(mine, row), StepOf(type) * LargestMagnitude(row)) << cols;
      }
    }
  }
}

TEST_F(RowsTest, GatesAreNearTheDefinition) {
  for (RowType from : {RowType::kF32, RowType::kBF16}) {
    for (RowType type : {RowType::kF32, RowType::kBF16, RowType::kFP8}) {
      for (int64_t inner : kWidths) {
        const int64_t rows = 2;
        std::vector<float> x = RandomFloats(rows * 2 * inner, static_cast<uint32_t>(inner), 3);
        x[0] = -200;  // whose exponential overflows
        std::vector<uint16_t> bits;
        for (float& value : x) {
          if (from == RowType::kBF16) value = FloatFromBF16(BF16FromFloat(value));
          bits.push_back(BF16FromFloat(value));
        }
        const DeviceMemory product = from == RowType::kBF16 ? Upload(bits) : Upload(x);
        const std::vector<float> actual = Converted(type, rows, inner, [&](const ProductRows& to) {
          return SiluGate(from, product.data(), rows, inner, to, stream_.get());
        });
        for (int64_t r = 0; r < rows; ++r) {
          std::vector<float> row;
          for (int64_t c = 0; c < inner; ++c) {
            const double gate = double{x[static_cast<size_t>(r * 2 * inner + c)]};
            const double up = double{x[static_cast<size_t>((r * 2 + 1) * inner + c)]};
            row.push_back(static_cast<float>(gate / (1 + std::exp(-gate)) * up));
          }
          RoundForProduct(FormatOf(type), false, inner, row.data());
          const std::vector<float> mine(actual.begin() + r * inner,
                                        actual.begin() + (r + 1) * inner);
          EXPECT_LE(LargestGap(mine, row), StepOf(type) * LargestMagnitude(row)) << inner;
        }
      }
    }
  }
}

// Damage shows in what a product makes of it.
TEST_F(RowsTest, DamagedRowsStayDamaged) {
  for (float bad : {kNaN, std::numeric_limits<float>::infinity()}) {
    for (int64_t cols : {64, 65}) {
      std::vector<float> x(static_cast<size_t>(2 * cols), 1.0f);
      x[5] = bad;
      const DeviceMemory in = Upload(x);
      const std::vector<float> actual =
          Converted(RowType::kFP8, 2, cols, [&](const ProductRows& to) {
            return RmsNormRows({in.as<float>(), 2, cols}, {}, to, stream_.get());
          });
      EXPECT_TRUE(std::isnan(actual[5]));
      EXPECT_EQ(actual[static_cast<size_t>(cols)], 1.0f);
    }
  }
}

TEST_F(RowsTest, GathersRows) {
  for (int64_t cols : {1, 7, 8, 1024, 1030}) {
    const int64_t rows = 40;
    const std::vector<float> x = RandomFloats(rows * cols, 1);
    const DeviceMemory in = Upload(x);
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < 600; ++i) indices.push_back(i * 7 % rows);
    const auto out = DeviceMemory::Allocate(600 * cols * 4).value();
    ASSERT_TRUE(GatherRows({in.as<float>(), rows, cols}, indices, {out.as<float>(), 600, cols},
                           stream_.get())
                    .ok());
    const std::vector<float> actual = Download<float>(out.data(), 600 * cols);
    for (int64_t i = 0; i < 600 * cols; ++i) {
      ASSERT_EQ(actual[static_cast<size_t>(i)],
                x[static_cast<size_t>(indices[static_cast<size_t>(i / cols)] * cols + i % cols)]);
    }
  }
}

// Every bit pattern of the 16-bit types, from a table that is not aligned, in more than two halves
// of the pinned memory.
TEST_F(RowsTest, EmbedsRowsOfEachType) {
  Embedder embedder;
  for (DType type : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (int64_t cols : {1024, 1023, 5}) {
      const int64_t vocab = 64;
      std::vector<char> bytes(static_cast<size_t>(vocab * cols * SizeOf(type) + 1));
      char* const table = bytes.data() + 1;
      for (int64_t i = 0; i < vocab * cols; ++i) {
        if (type == DType::kF32) {
          const float value = static_cast<float>(i) * 0.1f;
          std::memcpy(table + 4 * i, &value, 4);
        } else {
          const uint16_t bits = static_cast<uint16_t>(i);
          std::memcpy(table + 2 * i, &bits, 2);
        }
      }
      const int64_t rows = cols == 5 ? 70 : 2600;
      std::vector<int32_t> tokens;
      for (int64_t r = 0; r < rows; ++r) tokens.push_back(static_cast<int32_t>(r * 5 % vocab));
      const auto out = DeviceMemory::Allocate(rows * cols * 4).value();
      const WeightView view{table, type, vocab, cols};
      const absl::Status status =
          embedder.Embed(view, tokens, {out.as<float>(), rows, cols}, stream_.get());
      ASSERT_TRUE(status.ok()) << status;
      const std::vector<uint32_t> actual = Download<uint32_t>(out.data(), rows * cols);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          const float expected =
              LoadElement(table, type, tokens[static_cast<size_t>(r)] * cols + c);
          uint32_t bits;
          std::memcpy(&bits, &expected, 4);
          ASSERT_EQ(actual[static_cast<size_t>(r * cols + c)], bits) << r << " " << c;
        }
      }
    }
  }
  EXPECT_EQ(emulator::FailedLaunches(), 0);
}

}  // namespace
}  // namespace longleaf::kernels::cuda
