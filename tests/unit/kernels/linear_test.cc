// Linear on every backend against a sum in double, over odd shapes and all weight types.
#include <cmath>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/quantised.h"
#include "tests/unit/kernels/backend_fixture.h"
#include "tests/unit/kernels/weights.h"

namespace longleaf::kernels {
namespace {

class LinearTest : public ProductTest {
 protected:
  // Whether the backend takes matrices of any size in this format. (A GPU takes fp8 in multiples of
  // 16: tests/gpu/linear_test.cc.)
  static bool Takes(WeightFormat format) {
    switch (GetParam()) {
      case Kind::kReference:
        return true;
      case Kind::kCuda:
        return format == WeightFormat::kF32 || format == WeightFormat::kBF16;
      default:
        return format != WeightFormat::kFP8;
    }
  }
};
LONGLEAF_ON_ALL_BACKENDS(LinearTest);

struct DotBound {
  double value = 0;
  double bound = 0;  // of the rounding error of a float32 sum
};
// A sum of K products in float32 wanders by about epsilon * sqrt(K) of |x| |w|.
DotBound Dot(const float* x, const float* w, int64_t count) {
  double dot = 0, xx = 0, ww = 0;
  for (int64_t k = 0; k < count; ++k) {
    const double a = x[k], b = w[k];
    dot += a * b;
    xx += a * a;
    ww += b * b;
  }
  return {dot, double{kEpsilon} * std::sqrt(static_cast<double>(count) * xx * ww)};
}

// Rows as a product sees them: in bf16 the numbers are rounded, and then their products are exact.
std::vector<float> Rounded(WeightFormat format, bool as_weights, std::vector<float> rows,
                           int64_t cols) {
  for (size_t at = 0; at < rows.size(); at += static_cast<size_t>(cols)) {
    RoundForProduct(format, as_weights, cols, rows.data() + at);
  }
  return rows;
}

// Appends the values of `weights` to `to`.
void AppendTo(std::vector<float>& to, const Weights& weights) {
  for (int64_t n = 0; n < weights.rows; ++n) {
    for (int64_t k = 0; k < weights.cols; ++k) to.push_back(weights.at(n, k));
  }
}

TEST_P(LinearTest, AgreesWithASumInDouble) {
  for (int64_t out : {1, 62, 64, 65, 200}) {
    for (int64_t in : {1, 15, 64, 127, 200}) {
      const DType type = in == 15 ? DType::kBF16 : in == 64 ? DType::kF16 : DType::kF32;
      // Two parts of different types under one matrix.
      const Weights top(type, out, in, 1, 0.3f), bottom(DType::kF32, 3, in, 2, 0.3f);
      std::vector<float> plain;
      AppendTo(plain, top);
      AppendTo(plain, bottom);
      for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16}) {
        auto matrix =
            backend_->PackMatrix({{top.view(), bottom.view()}}, Epilogue::kNone, format).value();
        EXPECT_EQ(matrix->out_features(), out + 3);
        EXPECT_EQ(matrix->in_features(), in);
        const std::vector<float> weights = Rounded(format, true, plain, in);
        for (int64_t rows : {1, 2, 3, 5, 6, 7, 8, 9, 17, 62, 64, 65, 127, 287}) {
          const std::vector<float> x = RandomFloats(rows * in, 3);
          const std::vector<float> y = Run(*matrix, x, rows, out + 3);
          const std::vector<float> rounded = Rounded(format, false, x, in);
          for (int64_t r = 0; r<rows; r += rows> 20 && r + 12 < rows ? 7 : 1) {
            for (int64_t n = 0; n < out + 3; ++n) {
              const DotBound expected = Dot(rounded.data() + r * in, weights.data() + n * in, in);
              ASSERT_NEAR(double{y[static_cast<size_t>(r * (out + 3) + n)]}, expected.value,
                          expected.bound)
                  << NameOf(format) << ' ' << rows << " x " << in << " -> " << out + 3 << ", row "
                  << r << ", column " << n;
            }
          }
        }
      }
    }
  }
}

TEST_P(LinearTest, SiluGateAgreesWithTheFormula) {
  for (int64_t width : {1, 64, 65, 176}) {
    const int64_t in = 96;
    const Weights gate(DType::kF32, width, in, 4, 0.5f), up(DType::kBF16, width, in, 5, 0.3f);
    auto matrix =
        backend_->PackMatrix({{gate.view(), up.view()}}, Epilogue::kSiluGate, WeightFormat::kF32)
            .value();
    EXPECT_EQ(matrix->out_features(), 2 * width);
    std::vector<float> gates, ups;
    AppendTo(gates, gate);
    AppendTo(ups, up);
    for (int64_t rows : {1, 6, 8, 9, 65, 130}) {
      const std::vector<float> x = RandomFloats(rows * in, 6);
      const std::vector<float> y = Run(*matrix, x, rows, width);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t n = 0; n < width; ++n) {
          const float* const row = x.data() + r * in;
          const DotBound g = Dot(row, gates.data() + n * in, in);
          const DotBound u = Dot(row, ups.data() + n * in, in);
          const double silu = g.value / (1 + std::exp(-g.value));
          // silu's slope is at most 1.1.
          const double bound = 1.1 * g.bound * (std::abs(u.value) + u.bound) +
                               u.bound * std::abs(silu) +
                               8 * double{kEpsilon} * std::abs(silu * u.value);
          ASSERT_NEAR(double{y[static_cast<size_t>(r * width + n)]}, silu * u.value, bound)
              << rows << " rows, width " << width << ", row " << r << ", column " << n;
        }
      }
    }
  }
}

TEST_P(LinearTest, SiluGateSurvivesLargeValues) {
  const std::vector<float> weights = {1000, -1000};
  auto matrix =
      backend_
          ->PackMatrix({{{&weights[0], DType::kF32, 1, 1}, {&weights[1], DType::kF32, 1, 1}}},
                       Epilogue::kSiluGate, WeightFormat::kF32)
          .value();
  const std::vector<float> y = Run(*matrix, {1, -1, 0}, 3, 1);
  EXPECT_EQ(y[0], -1e6f);
  EXPECT_NEAR(y[1], 0, 1e-30);
  EXPECT_EQ(y[2], 0);
}

// A row's result at a given batch shape has the same bits every time; at another shape it differs
// by rounding only, which AgreesWithASumInDouble bounds.
TEST_P(LinearTest, EqualShapesGiveEqualBits) {
  const Weights weights(DType::kF32, 300, 128, 7, 0.3f);
  auto matrix =
      backend_->PackMatrix({{weights.view()}}, Epilogue::kNone, WeightFormat::kF32).value();
  for (int64_t rows : {1, 8, 33}) {
    std::vector<float> x = RandomFloats(rows * 128, 8);
    const std::vector<float> first = Run(*matrix, x, rows, 300);
    EXPECT_EQ(Run(*matrix, x, rows, 300), first);
    // The last row does not know the others.
    std::fill(x.begin(), x.end() - 128, 3.0f);
    const std::vector<float> second = Run(*matrix, x, rows, 300);
    EXPECT_TRUE(std::equal(first.end() - 300, first.end(), second.end() - 300));
  }
}

// While a step is small, as when it only decodes, a row has the bits that it has alone. (On the
// CPU; another device may choose its kernels by the number of rows.)
TEST_P(LinearTest, AFewRowsHaveTheBitsOfEachAlone) {
  const Weights weights(DType::kF32, 70, 300, 14, 0.3f), up(DType::kF32, 70, 300, 15, 0.3f);
  std::vector<std::unique_ptr<Matrix>> matrices;
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16}) {
    matrices.push_back(backend_->PackMatrix({{weights.view()}}, Epilogue::kNone, format).value());
    matrices.push_back(
        backend_->PackMatrix({{weights.view(), up.view()}}, Epilogue::kSiluGate, format).value());
  }
  const std::vector<float> x = RandomFloats(64 * 300, 16);
  for (const auto& matrix : matrices) {
    std::vector<float> alone;
    for (int64_t row = 0; row < 64; ++row) {
      const std::vector<float> y =
          Run(*matrix, {x.begin() + row * 300, x.begin() + (row + 1) * 300}, 1, 70);
      alone.insert(alone.end(), y.begin(), y.end());
    }
    for (const int64_t rows : {2, 6, 7, 12, 13, 16, 18, 19, 31, 48, 49, 64}) {
      const std::vector<float> y = Run(*matrix, {x.begin(), x.begin() + rows * 300}, rows, 70);
      EXPECT_TRUE(std::equal(y.begin(), y.end(), alone.begin())) << rows << " rows";
    }
  }
}

// More shapes than a backend keeps primitives for.
TEST_P(LinearTest, ManyShapes) {
  const Weights weights(DType::kF32, 70, 16, 9, 0.3f);
  auto matrix =
      backend_->PackMatrix({{weights.view()}}, Epilogue::kNone, WeightFormat::kF32).value();
  std::vector<float> plain;
  AppendTo(plain, weights);
  for (int64_t rows = 1; rows <= 300; ++rows) {
    const std::vector<float> x = RandomFloats(rows * 16, static_cast<uint32_t>(rows));
    const std::vector<float> y = Run(*matrix, x, rows, 70);
    const DotBound last = Dot(x.data() + (rows - 1) * 16, plain.data() + 69 * 16, 16);
    EXPECT_NEAR(double{y.back()}, last.value, last.bound);
  }
}

TEST_P(LinearTest, WeightsAreCounted) {
  const Weights weights(DType::kBF16, 70, 30, 10, 1);
  {
    auto matrix =
        backend_->PackMatrix({{weights.view()}}, Epilogue::kNone, WeightFormat::kF32).value();
    EXPECT_GE(matrix->bytes(), 70 * 30 * 4);
    EXPECT_EQ(backend_->memory().weight_bytes, matrix->bytes());
  }
  EXPECT_EQ(backend_->memory().weight_bytes, 0);
}

TEST_P(LinearTest, RefusesWhatDoesNotFit) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  const Weights a(DType::kF32, 4, 8, 11, 1), b(DType::kF32, 4, 9, 12, 1),
      c(DType::kF32, 5, 8, 13, 1);
  const auto pack = [&](absl::Span<const WeightView> parts, Epilogue epilogue) {
    return backend_->PackMatrix(parts, epilogue, WeightFormat::kF32).status().code();
  };
  EXPECT_EQ(pack({}, Epilogue::kNone), kInvalid);
  EXPECT_EQ(pack({{a.view(), b.view()}}, Epilogue::kNone), kInvalid);
  EXPECT_EQ(pack({{a.view()}}, Epilogue::kSiluGate), kInvalid);
  EXPECT_EQ(pack({{a.view(), c.view()}}, Epilogue::kSiluGate), kInvalid);
  EXPECT_EQ(pack({{WeightView{nullptr, DType::kF32, 4, 8}}}, Epilogue::kNone), kInvalid);
  WeightView quantised = a.view();
  quantised.type = DType::kI8;
  EXPECT_EQ(pack({{quantised}}, Epilogue::kNone), absl::StatusCode::kUnimplemented);
  // Only the reference takes every format; the others say which they do.
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kI8, WeightFormat::kI4,
                                    WeightFormat::kBF16, WeightFormat::kFP8}) {
    const absl::Status status =
        backend_->PackMatrix({{a.view()}}, Epilogue::kNone, format).status();
    EXPECT_EQ(status.code(),
              Takes(format) ? absl::StatusCode::kOk : absl::StatusCode::kUnimplemented);
  }

  auto matrix = backend_->PackMatrix({{a.view()}}, Epilogue::kNone, WeightFormat::kF32).value();
  auto in = backend_->Allocate(2, 8).value(), out = backend_->Allocate(2, 4).value();
  EXPECT_TRUE(backend_->Linear(*matrix, in->tensor(), {}, out->tensor()).ok());
  EXPECT_EQ(backend_->Linear(*matrix, out->tensor(), {}, out->tensor()).code(), kInvalid);
  EXPECT_EQ(backend_->Linear(*matrix, in->tensor(), {}, in->tensor()).code(), kInvalid);
  EXPECT_EQ(backend_->Linear(*matrix, in->tensor().Rows(1), {}, out->tensor()).code(), kInvalid);
  auto other = Make(GetParam() == Kind::kReference ? Kind::kCpuOneThread : Kind::kReference);
  auto foreign = other->PackMatrix({{a.view()}}, Epilogue::kNone, WeightFormat::kF32).value();
  EXPECT_EQ(backend_->Linear(*foreign, in->tensor(), {}, out->tensor()).code(), kInvalid);
}

TEST_P(LinearTest, AddLinearAddsTheProduct) {
  constexpr int64_t kIn = 90, kOut = 150;
  const Weights weights(DType::kF32, kOut, kIn, 1, 0.3f), up(DType::kF32, kOut, kIn, 2, 0.3f);
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
    if (!Takes(format)) continue;
    auto matrix = backend_->PackMatrix({{weights.view()}}, Epilogue::kNone, format).value();
    for (const int64_t rows : {1, 7, 65, 130}) {
      const std::vector<float> x = RandomFloats(rows * kIn, 3),
                               before = RandomFloats(rows * kOut, 4);
      const std::vector<float> product = Run(*matrix, x, rows, kOut);
      auto in = Upload(*backend_, x, rows, kIn), residual = Upload(*backend_, before, rows, kOut);
      ASSERT_TRUE(backend_->AddLinear(*matrix, in->tensor(), residual->tensor()).ok());
      const std::vector<float> sum = Download(*backend_, residual->tensor());
      for (size_t i = 0; i < sum.size(); ++i) {
        const double expected = double{before[i]} + double{product[i]};
        ASSERT_NEAR(double{sum[i]}, expected, 4 * double{kEpsilon} * (1 + std::abs(expected)));
      }
    }
    auto gated =
        backend_->PackMatrix({{weights.view(), up.view()}}, Epilogue::kSiluGate, format).value();
    auto in = backend_->Allocate(2, kIn).value(), out = backend_->Allocate(2, kOut).value();
    EXPECT_EQ(backend_->AddLinear(*gated, in->tensor(), out->tensor()).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(backend_->AddLinear(*matrix, in->tensor(), in->tensor()).code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// The layer as a whole against its parts; between the two, quantised numbers are the same.
TEST_P(LinearTest, FeedForwardIsItsParts) {
  for (const int64_t dim : {1, 64, 90}) {
    for (const int64_t inner : {1, 64, 150}) {
      const Weights gate(DType::kF32, inner, dim, 1, 0.3f), up(DType::kF32, inner, dim, 2, 0.3f);
      const Weights out(DType::kF32, dim, inner, 3, 0.3f), norm(DType::kF32, 1, dim, 4, 1);
      auto norm_weight = backend_->CopyVector(norm.view()).value();
      const RmsNorm rms{norm_weight->tensor(), 1e-5f};
      for (const WeightFormat format :
           {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
        if (!Takes(format)) continue;
        auto gate_up =
            backend_->PackMatrix({{gate.view(), up.view()}}, Epilogue::kSiluGate, format).value();
        auto down = backend_->PackMatrix({{out.view()}}, Epilogue::kNone, format).value();
        for (const int64_t rows : {1, 7, 65, 130}) {
          const std::vector<float> x = RandomFloats(rows * dim, 3);
          auto whole = Upload(*backend_, x, rows, dim), parts = Upload(*backend_, x, rows, dim);
          auto gated = backend_->Allocate(rows, inner).value();
          ASSERT_TRUE(backend_->FeedForward(whole->tensor(), rms, *gate_up, *down).ok());
          ASSERT_TRUE(backend_->Linear(*gate_up, parts->tensor(), rms, gated->tensor()).ok());
          ASSERT_TRUE(backend_->AddLinear(*down, gated->tensor(), parts->tensor()).ok());
          ASSERT_EQ(Download(*backend_, whole->tensor()), Download(*backend_, parts->tensor()))
              << NameOf(format) << ' ' << rows << " x " << dim << ", inner " << inner;
          ASSERT_NE(Download(*backend_, whole->tensor()), x);
        }
        auto x = backend_->Allocate(2, dim).value(), wide = backend_->Allocate(2, dim + 1).value();
        const auto refused = [&](const Buffer& to, const Matrix& first, const Matrix& second) {
          return backend_->FeedForward(to.tensor(), rms, first, second).code() ==
                 absl::StatusCode::kInvalidArgument;
        };
        EXPECT_TRUE(refused(*wide, *gate_up, *down));
        EXPECT_TRUE(refused(*x, *down, *gate_up));
        auto other = backend_->PackMatrix(
            {{out.view()}}, Epilogue::kNone,
            format == WeightFormat::kF32 ? WeightFormat::kBF16 : WeightFormat::kF32);
        EXPECT_TRUE(refused(*x, *gate_up, **other));
      }
    }
  }
}

}  // namespace
}  // namespace longleaf::kernels
