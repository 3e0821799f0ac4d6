// Quantised weights: the scalar rules, the product on every backend against a sum of integers, and
// the vector code of every instruction set of this machine against the rules.
#include "kernels/quantised.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/targets.h"
#include "kernels/aligned.h"
#include "kernels/cpu/quantised_panels.h"
#include "tests/unit/kernels/backend_fixture.h"
#include "tests/unit/kernels/weights.h"

namespace longleaf::kernels {
namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kI8, WeightFormat::kI4};

TEST(QuantiseTest, Int8KeepsTheLargestAndRoundsTiesToEven) {
  const std::vector<float> x = {-127, 126.5f, 125.5f, 0.4f, -0.5f, 0};
  int8_t q[6];
  EXPECT_EQ(QuantiseI8(x.data(), 6, q), 1.0f);
  EXPECT_EQ(std::vector<int>(q, q + 6), (std::vector<int>{-127, 126, 126, 0, 0, 0}));
}

TEST(QuantiseTest, Int4MapsTheLargestToTheEndThatReachesFurther) {
  for (const float sign : {1.0f, -1.0f}) {
    const std::vector<float> x = {sign * -8, sign * 7, sign * 8, sign * 0.4f};
    uint8_t q[4];
    EXPECT_EQ(QuantiseI4(x.data(), 4, q), sign);
    EXPECT_EQ(std::vector<int>(q, q + 4), (std::vector<int>{0, 15, 15, 8}));
  }
}

TEST(QuantiseTest, ErrorsAreHalfAStepAtMost) {
  for (const WeightFormat format : kFormats) {
    const int64_t group = GroupOf(format);
    const std::vector<float> x = RandomFloats(group, 1);
    std::vector<float> rounded = x;
    RoundForProduct(format, true, group, rounded.data());
    float largest = 0;
    for (const float v : x) largest = std::max(largest, std::abs(v));
    // Int4's far end, of the other sign than the largest, is an eighth short of it.
    const float step = format == WeightFormat::kI8 ? largest / 127 : largest / 8 * 1.004f;
    for (int64_t i = 0; i < group; ++i) {
      const float error = std::abs(rounded[static_cast<size_t>(i)] - x[static_cast<size_t>(i)]);
      EXPECT_LE(error, (format == WeightFormat::kI8 ? 0.501f : 1.01f) * step);
    }
  }
}

TEST(QuantiseTest, E4M3IsTheNearest) {
  // Its numbers, by the definition: 4 bits of exponent with a bias of 7, 3 of fraction.
  std::vector<float> numbers;
  for (int bits = 0; bits < 127; ++bits) {
    const int exponent = bits / 8, fraction = bits % 8;
    numbers.push_back(exponent == 0 ? std::ldexp(static_cast<float>(fraction), -9)
                                    : std::ldexp(static_cast<float>(8 + fraction), exponent - 10));
    EXPECT_EQ(FloatFromE4M3(static_cast<uint8_t>(bits)), numbers.back());
    EXPECT_EQ(FloatFromE4M3(static_cast<uint8_t>(bits | 0x80)), -numbers.back());
  }
  EXPECT_EQ(numbers.back(), 448.0f);
  EXPECT_TRUE(std::isnan(FloatFromE4M3(0x7f)));
  EXPECT_EQ(E4M3FromFloat(std::numeric_limits<float>::quiet_NaN()) & 0x7f, 0x7f);
  EXPECT_EQ(E4M3FromFloat(std::numeric_limits<float>::infinity()), 0x7e);
  EXPECT_EQ(E4M3FromFloat(-1e30f), 0xfe);
  const auto expect = [](float x, int bits) {
    EXPECT_EQ(E4M3FromFloat(x), bits) << x;
    EXPECT_EQ(E4M3FromFloat(-x), bits | 0x80) << -x;
  };
  for (int bits = 0; bits < 126; ++bits) {
    const float low = numbers[static_cast<size_t>(bits)],
                high = numbers[static_cast<size_t>(bits) + 1];
    const float middle = (low + high) / 2;
    expect(low, bits);
    expect(middle, bits % 2 == 0 ? bits : bits + 1);  // a tie, to even
    expect(std::nextafter(middle, 0.0f), bits);
    expect(std::nextafter(middle, 500.0f), bits + 1);
  }
}

TEST(QuantiseTest, FP8ScalesTheLargestOfARowToTheEnd) {
  std::vector<float> x = RandomFloats(301, 1);
  x[100] = -7;
  std::vector<uint8_t> q(x.size());
  const float scale = QuantiseFP8(x.data(), 301, q.data());
  EXPECT_EQ(scale, 7.0f / 448.0f);
  EXPECT_EQ(q[100], 0xfe);
  for (size_t i = 0; i < x.size(); ++i) {
    // Half a step: 2^-4 of a number, or of the smallest one whose step is not constant.
    const float step = std::max(std::abs(x[i]), scale * 0x1p-6f);
    EXPECT_NEAR(FloatFromE4M3(q[i]) * scale, x[i], 0x1.01p-4f * step);
  }
  const float zeros[] = {1e-37f, 0};
  EXPECT_EQ(QuantiseFP8(zeros, 2, q.data()), 0.0f);
  EXPECT_EQ(q[0], 0);
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    const float row[] = {1, bad};
    EXPECT_TRUE(std::isnan(QuantiseFP8(row, 2, q.data()))) << "the damage does not show";
  }
}

TEST(QuantiseTest, NothingIsUndefined) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float tiny = std::numeric_limits<float>::denorm_min();
  for (const std::vector<float>& x : std::vector<std::vector<float>>{
           {0, 0, 0}, {tiny, -tiny, 0}, {inf, 1, -inf}, {nan, 1, 2}, {3e38f, -3e38f, 1}}) {
    int8_t q8[3];
    uint8_t q4[3];
    QuantiseI8(x.data(), 3, q8);
    QuantiseI4(x.data(), 3, q4);
    for (int i = 0; i < 3; ++i) {
      EXPECT_GE(q8[i], -127);
      EXPECT_LE(q4[i], 15);
    }
  }
  int8_t q[2];
  const float zeros[] = {tiny, 0};
  EXPECT_EQ(QuantiseI8(zeros, 2, q), 0.0f);
}

class QuantisedTest : public ProductTest {};
LONGLEAF_ON_ALL_BACKENDS(QuantisedTest);

// Row r of x as the product sees it, in double.
std::vector<float> Rounded(WeightFormat format, bool weights, const float* x, int64_t count) {
  std::vector<float> row(x, x + count);
  RoundForProduct(format, weights, count, row.data());
  return row;
}

// The only errors are those of adding up groups in f32.
TEST_P(QuantisedTest, AgreesWithASumOfIntegers) {
  for (const WeightFormat format : kFormats) {
    for (const int64_t out : {1, 63, 64, 65, 200}) {
      for (const int64_t in : {1, 31, 64, 127, 300}) {
        const Weights weights(in == 31 ? DType::kBF16 : DType::kF32, out, in, 1, 0.3f);
        auto matrix = backend_->PackMatrix({{weights.view()}}, Epilogue::kNone, format).value();
        EXPECT_EQ(matrix->shape(), (MatrixShape{out, in, Epilogue::kNone, format}));
        std::vector<std::vector<float>> rounded;
        for (int64_t n = 0; n < out; ++n) {
          std::vector<float> row;
          for (int64_t k = 0; k < in; ++k) row.push_back(weights.at(n, k));
          rounded.push_back(Rounded(format, true, row.data(), in));
        }
        for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 13, 50, 130}) {
          const std::vector<float> x = RandomFloats(rows * in, 2);
          const std::vector<float> y = Run(*matrix, x, rows, out);
          for (int64_t r = 0; r<rows; r += rows> 20 ? 17 : 1) {
            const std::vector<float> row = Rounded(format, false, x.data() + r * in, in);
            for (int64_t n = 0; n < out; ++n) {
              double sum = 0, size = 0;
              for (size_t k = 0; k < row.size(); ++k) {
                const double product = double{row[k]} * double{rounded[static_cast<size_t>(n)][k]};
                sum += product;
                size += std::abs(product);
              }
              ASSERT_NEAR(double{y[static_cast<size_t>(r * out + n)]}, sum,
                          2 * double{kEpsilon} * size)
                  << NameOf(format) << ' ' << rows << " x " << in << " -> " << out << ", row " << r
                  << ", column " << n;
            }
          }
        }
      }
    }
  }
}

TEST_P(QuantisedTest, ARowHasTheSameBitsWhateverIsBesideIt) {
  constexpr int64_t kIn = 300, kWidth = 130, kRows = 97;
  const Weights gate(DType::kF32, kWidth, kIn, 3, 0.3f), up(DType::kF32, kWidth, kIn, 4, 0.3f);
  const std::vector<float> x = RandomFloats(kRows * kIn, 5);
  for (const WeightFormat format : kFormats) {
    auto matrix =
        backend_->PackMatrix({{gate.view(), up.view()}}, Epilogue::kSiluGate, format).value();
    const std::vector<float> all = Run(*matrix, x, kRows, kWidth);
    for (const int64_t height : {1, 2, 3, 4, 5, 11}) {
      for (int64_t r = 0; r + height <= kRows; r += 23) {
        const std::vector<float> some(x.begin() + r * kIn, x.begin() + (r + height) * kIn);
        const std::vector<float> y = Run(*matrix, some, height, kWidth);
        ASSERT_EQ(std::memcmp(y.data(), all.data() + r * kWidth, y.size() * sizeof(float)), 0)
            << NameOf(format) << ", rows " << r << " + " << height;
      }
    }
  }
}

TEST_P(QuantisedTest, SiluGateIsThatOfTheRoundedProduct) {
  constexpr int64_t kIn = 96, kWidth = 70, kRows = 9;
  const Weights gate(DType::kF32, kWidth, kIn, 3, 0.3f), up(DType::kF32, kWidth, kIn, 4, 0.3f);
  const std::vector<float> x = RandomFloats(kRows * kIn, 5);
  for (const WeightFormat format : kFormats) {
    const auto product = [&](const Weights& weights) {
      return Run(*backend_->PackMatrix({{weights.view()}}, Epilogue::kNone, format).value(), x,
                 kRows, kWidth);
    };
    const std::vector<float> g = product(gate), u = product(up);
    const std::vector<float> y =
        Run(*backend_->PackMatrix({{gate.view(), up.view()}}, Epilogue::kSiluGate, format).value(),
            x, kRows, kWidth);
    for (size_t i = 0; i < y.size(); ++i) {
      const double expected = double{g[i]} / (1 + std::exp(-double{g[i]})) * double{u[i]};
      ASSERT_NEAR(double{y[i]}, expected, 8 * double{kEpsilon} * std::abs(expected));
    }
  }
}

TEST_P(QuantisedTest, PackedWeightsAreAdoptedAsTheyAre) {
  constexpr int64_t kIn = 130, kOut = 70;
  const Weights weights(DType::kF32, kOut, kIn, 3, 0.3f);
  const std::vector<float> x = RandomFloats(3 * kIn, 5);
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
    auto matrix = backend_->PackMatrix({{weights.view()}}, Epilogue::kNone, format).value();
    if (backend_->packed_layout().empty()) {
      EXPECT_TRUE(matrix->packed().empty());
      EXPECT_FALSE(backend_->AdoptMatrix(matrix->shape(), matrix->packed(), nullptr).ok());
      continue;
    }
    const MatrixShape shape = matrix->shape();
    const int64_t bytes = backend_->PackedBytes(shape).value();
    ASSERT_EQ(bytes, static_cast<int64_t>(matrix->packed().size()));
    auto kept = std::shared_ptr<std::byte[]>(
        static_cast<std::byte*>(std::aligned_alloc(64, static_cast<size_t>(bytes + 64))),
        std::free);
    std::copy(matrix->packed().begin(), matrix->packed().end(), kept.get());
    const std::vector<float> expected = Run(*matrix, x, 3, kOut);
    matrix.reset();
    const absl::Span<const std::byte> packed(kept.get(), static_cast<size_t>(bytes));
    const int64_t before = backend_->memory().weight_bytes;
    auto adopted = backend_->AdoptMatrix(shape, packed, kept).value();
    EXPECT_EQ(backend_->memory().weight_bytes - before, bytes);
    EXPECT_EQ(adopted->packed().data(), packed.data());
    EXPECT_EQ(kept.use_count(), 2);
    EXPECT_EQ(Run(*adopted, x, 3, kOut), expected);
    adopted.reset();
    EXPECT_EQ(kept.use_count(), 1);
    const auto refused = [&](MatrixShape wrong, absl::Span<const std::byte> span) {
      return backend_->AdoptMatrix(wrong, span, kept).status().code();
    };
    const absl::StatusCode invalid = absl::StatusCode::kInvalidArgument;
    EXPECT_EQ(refused(shape, packed.subspan(0, packed.size() - 64)), invalid);
    EXPECT_EQ(refused(shape, {packed.data() + 32, packed.size()}), invalid);
    EXPECT_EQ(refused({shape.out_features + 64, kIn, shape.epilogue, format}, packed), invalid);
    EXPECT_EQ(refused({0, kIn, shape.epilogue, format}, packed), invalid);
    EXPECT_EQ(refused({int64_t{1} << 40, int64_t{1} << 40, shape.epilogue, format}, packed),
              invalid);
    EXPECT_EQ(refused({kOut, kIn, shape.epilogue, static_cast<WeightFormat>(9)}, packed), invalid);
    EXPECT_EQ(refused({kOut, kIn, static_cast<Epilogue>(7), format}, packed), invalid);
  }
}

// The same rules in vectors, whatever their width.
TEST(QuantisedPanelsTest, EveryInstructionSetFollowsTheRules) {
  constexpr int64_t kIn = 333, kRows = 7;
  const std::vector<float> weights = RandomFloats(kPanelColumns * kIn, 1);
  std::vector<float> x = RandomFloats(kRows * kIn, 2);
  std::fill_n(x.begin() + 64, 64, 0.0f);    // a group of zeros
  std::fill_n(x.begin() + 128, 64, 1e30f);  // and one of large numbers
  PanelSource source;
  source.columns = kPanelColumns;
  source.in_features = kIn;
  for (int64_t n = 0; n < kPanelColumns; ++n) {
    source.rows[n] = weights.data() + n * kIn;
    source.types[n] = DType::kF32;
  }
  std::vector<std::vector<std::byte>> first;  // packed by the first instruction set, by format
  const int64_t all = hwy::SupportedTargets();
  for (int64_t targets = all; targets != 0; targets &= targets - 1) {
    const int64_t target = targets & -targets;
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(hwy::TargetName(target));
    for (const WeightFormat format : kFormats) {
      const int64_t group = GroupOf(format), groups = GroupsOf(format, kIn);
      std::vector<int8_t> numbers(static_cast<size_t>(kRows * groups * group));
      std::vector<ActivationScale> scales(static_cast<size_t>(kRows * groups));
      for (int64_t r = 0; r < kRows; ++r) {
        QuantiseActivations(format, x.data() + r * kIn, kIn, numbers.data() + r * groups * group,
                            scales.data() + r * groups);
        for (int64_t g = 0; g < groups; ++g) {
          const int64_t count = std::min(group, kIn - g * group);
          std::vector<int8_t> q(static_cast<size_t>(group));
          const float scale = QuantiseI8(x.data() + r * kIn + g * group, count, q.data());
          int sum = 0;
          for (const int8_t v : q) sum += v;
          const ActivationScale& got = scales[static_cast<size_t>(r * groups + g)];
          ASSERT_EQ(got.scale, scale);
          ASSERT_EQ(got.correction, sum * (format == WeightFormat::kI8 ? -128 : -8));
          ASSERT_EQ(std::memcmp(q.data(), numbers.data() + (r * groups + g) * group, q.size()), 0);
        }
      }
      const size_t bytes = static_cast<size_t>(QuantisedPanelBytes(format, kIn));
      const AlignedBytes panel = AllocateBytes(static_cast<int64_t>(bytes));
      PackQuantisedPanel(source, format, reinterpret_cast<uint8_t*>(panel.get()));
      if (first.empty()) first.resize(2);
      std::vector<std::byte>& same = first[format == WeightFormat::kI8 ? 0 : 1];
      if (same.empty()) same.assign(panel.get(), panel.get() + bytes);
      ASSERT_EQ(std::memcmp(panel.get(), same.data(), bytes), 0) << "another layout";
      for (const int64_t columns : {kPanelColumns, int64_t{50}}) {
        QuantisedProduct p;
        p.format = format;
        p.panel = reinterpret_cast<const uint8_t*>(panel.get());
        p.groups = groups;
        p.columns = columns;
        p.numbers = numbers.data();
        p.scales = scales.data();
        p.rows = kRows;
        p.out_stride = kPanelColumns + 3;
        std::vector<float> y(static_cast<size_t>(kRows * p.out_stride), 0.5f);
        p.out = y.data();
        MultiplyQuantisedPanel(p);
        std::vector<float> added(y.size(), 0.25f);
        p.out = added.data();
        p.add = true;
        MultiplyQuantisedPanel(p);
        for (int64_t r = 0; r < kRows; ++r) {
          const std::vector<float> row = Rounded(format, false, x.data() + r * kIn, kIn);
          for (int64_t n = 0; n < p.out_stride; ++n) {
            const size_t at = static_cast<size_t>(r * p.out_stride + n);
            if (n >= columns) {
              ASSERT_EQ(y[at], 0.5f) << "beyond the columns";
              ASSERT_EQ(added[at], 0.25f) << "beyond the columns";
              continue;
            }
            const std::vector<float> w = Rounded(format, true, weights.data() + n * kIn, kIn);
            double sum = 0, size = 0;
            for (size_t k = 0; k < w.size(); ++k) {
              sum += double{row[k]} * double{w[k]};
              size += std::abs(double{row[k]} * double{w[k]});
            }
            ASSERT_NEAR(double{y[at]}, sum, 2 * double{kEpsilon} * size);
            ASSERT_EQ(added[at], 0.25f + y[at]);
          }
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace
}  // namespace longleaf::kernels
