// How rows of keys and values are rounded, by the rule and by the vector code of every instruction
// set of this machine, and where they go in a page.
#include "kernels/state_rounding.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "kernels/cpu/page_rows.h"
#include "kernels/cpu/rounded_rows.h"
#include "tests/unit/kernels/backend_fixture.h"

namespace longleaf::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

uint16_t BF16(float x) {
  uint16_t bits;
  EXPECT_EQ(RoundRow(DType::kBF16, &x, 1, reinterpret_cast<std::byte*>(&bits)), 1);
  return bits;
}

TEST(StateRoundingTest, BF16IsTheNearestTiesToEven) {
  EXPECT_EQ(BF16(1), 0x3f80);
  EXPECT_EQ(BF16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // half way: to even
  EXPECT_EQ(BF16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(BF16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(BF16(std::bit_cast<float>(0xbf80ffffu)), 0xbf81);
  EXPECT_EQ(BF16(-0.0f), 0x8000);
  EXPECT_EQ(BF16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(BF16(-kInfinity), 0xff80);
  // Not rounded up to a zero.
  EXPECT_EQ(BF16(std::bit_cast<float>(0x7fffffffu)) & 0x7fc0, 0x7fc0);
  EXPECT_EQ(BF16(std::bit_cast<float>(0x7f800001u)) & 0x7fc0, 0x7fc0);
}

std::vector<int> I8(const std::vector<float>& x, float* scale) {
  std::vector<int8_t> q(x.size());
  *scale = RoundRow(DType::kI8, x.data(), std::ssize(x), reinterpret_cast<std::byte*>(q.data()));
  return {q.begin(), q.end()};
}

TEST(StateRoundingTest, I8HasAScaleForEachRow) {
  float scale;
  EXPECT_EQ(I8({127, -126.5f, 125.5f, 0.5f, -0.4f, 0}, &scale),
            (std::vector<int>{127, -126, 126, 0, 0, 0}));
  EXPECT_EQ(scale, 1);
  EXPECT_EQ(I8({0.25f, -0.5f}, &scale), (std::vector<int>{64, -127}));
  EXPECT_EQ(scale, 0.5f / 127);
  EXPECT_EQ(I8({0, -0.0f}, &scale), (std::vector<int>{0, 0}));
  EXPECT_EQ(scale, 0);
  EXPECT_EQ(I8({std::numeric_limits<float>::denorm_min(), 1e-38f}, &scale),
            (std::vector<int>{0, 0}));
  EXPECT_EQ(scale, 0);
  for (const float bad : {kNaN, kInfinity, -kInfinity, 0x1p127f}) {
    EXPECT_EQ(I8({1, bad, 2}, &scale), (std::vector<int>{0, 0, 0}));
    EXPECT_TRUE(std::isnan(scale)) << bad;
  }
}

TEST(StateRoundingTest, I8ErrorsAreHalfAStepAndNeverMinus128) {
  for (const float magnitude : {kSmallestRow, 1e-20f, 0.3f, 7.0f, 1e20f, 0x1.fffffep126f}) {
    std::vector<float> x = RandomFloats(64, 5);
    const float largest = LargestMagnitude(x);
    for (float& v : x) v = v / largest * magnitude;
    std::vector<std::byte> q(64);
    const float scale = RoundRow(DType::kI8, x.data(), 64, q.data());
    EXPECT_GT(scale, 0);
    EXPECT_LT(scale, kScaleLimit);
    std::vector<float> y(64);
    ReadRow(DType::kI8, q.data(), scale, 64, y.data());
    EXPECT_LE(LargestGap(x, y), 0.5001f * scale) << magnitude;
    for (const std::byte element : q) EXPECT_NE(element, std::byte{0x80});
  }
}

TEST(StateRoundingTest, TypesOfStatesByName) {
  EXPECT_EQ(ParseStateType("f32").value(), DType::kF32);
  EXPECT_EQ(ParseStateType("bf16").value(), DType::kBF16);
  EXPECT_EQ(ParseStateType("int8").value(), DType::kI8);
  for (const char* bad : {"", "f16", "i8", "F32"}) EXPECT_FALSE(ParseStateType(bad).ok()) << bad;
}

TEST(StateRoundingTest, EveryInstructionSetGivesTheSameBits) {
  std::vector<std::vector<float>> rows;
  for (const int64_t d : {1, 2, 7, 16, 62, 64, 80, 128, 287}) {
    for (const float magnitude : {1e-30f, 1.0f, 300.0f, 1e36f}) {
      rows.push_back(RandomFloats(d, static_cast<uint32_t>(rows.size()), magnitude));
      // Ties: multiples of half a step.
      rows.emplace_back();
      for (int64_t i = 0; i < d; ++i) rows.back().push_back(static_cast<float>(i % 255 - 127) / 2);
      rows.back().back() = 127;
    }
    for (const float special : {kNaN, kInfinity, -kNaN, 0x1p127f, 0.0f}) {
      rows.push_back(RandomFloats(d, 9));
      rows.back()[static_cast<size_t>(d / 2)] = special;
      rows.emplace_back(static_cast<size_t>(d), special);
    }
  }
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    for (const DType type : {DType::kBF16, DType::kI8}) {
      for (const std::vector<float>& row : rows) {
        const int64_t d = std::ssize(row);
        std::vector<std::byte> expected(row.size() * 2), actual(row.size() * 2 + 1);
        const float scale = RoundRow(type, row.data(), d, expected.data());
        const float fast = RoundRowFast(type, row.data(), d, actual.data());
        EXPECT_EQ(std::bit_cast<uint32_t>(fast), std::bit_cast<uint32_t>(scale));
        actual.pop_back();
        EXPECT_EQ(actual, expected);
        std::vector<uint32_t> read(row.size()), read_fast(row.size());
        ReadRow(type, expected.data(), scale, d, reinterpret_cast<float*>(read.data()));
        ReadRowFast(type, expected.data(), scale, d, reinterpret_cast<float*>(read_fast.data()));
        // All NaN are alike: which of two a product passes on is the compiler's choice.
        if (!std::isnan(scale)) EXPECT_EQ(read, read_fast);
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

// One element of a page as page.h describes it.
std::vector<std::byte> Element(const PageLayout& layout, const std::vector<std::byte>& page,
                               bool key, int64_t head, int64_t slot, int64_t k) {
  const int64_t size = SizeOf(layout.dtype), packing = PagePacking(layout.dtype);
  const int64_t d = layout.head_dim;
  const int64_t index = key ? (k / packing * kPageTokens + slot) * packing + k % packing
                            : (slot / packing * d + k) * packing + slot % packing;
  const auto at = page.begin() + (key ? layout.keys(head) : layout.values(head)) + index * size;
  return {at, at + size};
}

TEST(PageRowsTest, EveryElementIsWhereTheLayoutSaysAndNothingElseChanges) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    for (const int64_t d : {2, 6, 16, 62, 80}) {
      const PageLayout layout{dtype, 3, d};
      for (const auto& [slot, count] : {std::pair<int64_t, int64_t>{0, 64},
                                        {0, 1},
                                        {1, 1},
                                        {3, 6},
                                        {5, 59},
                                        {62, 2},
                                        {8, 16}}) {
        SCOPED_TRACE(std::string(NameOf(dtype)) + " d=" + std::to_string(d) +
                     " slot=" + std::to_string(slot) + " count=" + std::to_string(count));
        const int64_t row = d * SizeOf(dtype), stride = row + 3;  // not aligned
        std::vector<std::byte> keys(static_cast<size_t>(count * stride)), values(keys.size());
        std::vector<std::byte> scales(static_cast<size_t>(count * 4));
        std::mt19937 random(7);
        for (auto* bytes : {&keys, &values, &scales}) {
          for (std::byte& b : *bytes) b = static_cast<std::byte>(random());
        }
        const bool scaled = dtype == DType::kI8;
        const std::byte* const given = scaled ? scales.data() : nullptr;
        std::vector<std::byte> page(static_cast<size_t>(layout.bytes()), std::byte{0xff});
        const PageSlots slots = {layout, page.data(), 1, slot, count};
        PutKeys(slots, {keys.data(), stride, given, 4});
        PutValues(slots, {values.data(), stride, given, 4});

        for (int64_t r = 0; r < count; ++r) {
          for (int64_t k = 0; k < d; ++k) {
            for (const auto& [key, from] : {std::pair{true, &keys}, {false, &values}}) {
              const auto element = from->begin() + r * stride + k * SizeOf(dtype);
              ASSERT_EQ(Element(layout, page, key, 1, slot + r, k),
                        std::vector<std::byte>(element, element + SizeOf(dtype)));
            }
          }
        }
        int64_t written = 2 * count * row;
        if (scaled) {
          written += 2 * count * 4 + count * (d % 4 == 0 ? 0 : 2);  // and zeros beyond d
          for (const int64_t part : {layout.key_scales(1), layout.value_scales(1)}) {
            EXPECT_EQ(std::memcmp(page.data() + part + slot * 4, scales.data(), scales.size()), 0);
          }
        }
        // Everything else still has its 0xff, but for the bytes that were given as such.
        int64_t others = 0;
        const std::vector<std::byte> before(page.size(), std::byte{0xff});
        for (size_t i = 0; i < page.size(); ++i) others += page[i] != before[i] ? 1 : 0;
        EXPECT_LE(others, written);
        EXPECT_GE(others, written * 9 / 10);

        std::vector<std::byte> keys_back(keys.size()), values_back(keys.size()),
            key_scales(scales.size()), value_scales(scales.size());
        TakeKeys(slots, {keys_back.data(), stride, scaled ? key_scales.data() : nullptr, 4});
        TakeValues(slots, {values_back.data(), stride, scaled ? value_scales.data() : nullptr, 4});
        for (int64_t r = 0; r < count; ++r) {
          const auto size = static_cast<size_t>(row);
          EXPECT_EQ(std::memcmp(&keys[r * stride], &keys_back[r * stride], size), 0);
          EXPECT_EQ(std::memcmp(&values[r * stride], &values_back[r * stride], size), 0);
        }
        if (scaled) {
          EXPECT_EQ(key_scales, scales);
          EXPECT_EQ(value_scales, scales);
        }
      }
    }
  }
}

}  // namespace
}  // namespace longleaf::kernels
