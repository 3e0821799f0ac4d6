// Buffers, embedding, norm and gathering on every backend, over odd shapes and all weight types.
#include <bit>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/elementwise.h"
#include "tests/unit/kernels/backend_fixture.h"
#include "tests/unit/kernels/weights.h"

namespace longleaf::kernels {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST(ElementTypesTest, KnownHalves) {
  EXPECT_EQ(FloatFromF16(0x3c00), 1.0f);
  EXPECT_EQ(FloatFromF16(0xc000), -2.0f);
  EXPECT_EQ(FloatFromF16(0x7bff), 65504.0f);
  EXPECT_EQ(FloatFromF16(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(FloatFromF16(0x83ff), -std::ldexp(1023.0f, -24));
  EXPECT_TRUE(std::signbit(FloatFromF16(0x8000)));
  EXPECT_TRUE(std::isinf(FloatFromF16(0xfc00)));
  EXPECT_TRUE(std::isnan(FloatFromF16(0x7c01)));
  EXPECT_EQ(FloatFromBF16(0x3f80), 1.0f);
  EXPECT_EQ(FloatFromBF16(0xbfc0), -1.5f);
  EXPECT_STREQ(NameOf(DType::kBF16), "bf16");
  EXPECT_EQ(SizeOf(DType::kF16), 2);
}

// All 65536 values of both half types, at an odd address.
TEST(ElementTypesTest, FastConversionIsExact) {
  std::vector<char> bytes(2 * 65536 + 1);
  for (uint32_t i = 0; i < 65536; ++i) {
    const uint16_t bits = static_cast<uint16_t>(i);
    std::memcpy(bytes.data() + 1 + 2 * i, &bits, 2);
  }
  for (DType type : {DType::kBF16, DType::kF16}) {
    std::vector<float> values(65536);
    ToFloat(bytes.data() + 1, type, 65536, values.data());
    for (uint32_t i = 0; i < 65536; ++i) {
      const float expected = LoadElement(bytes.data() + 1, type, i);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(values[i])) << i;
      } else {
        EXPECT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected)) << i;
      }
    }
  }
}

class OperationTest : public BackendTest {};
LONGLEAF_ON_ALL_BACKENDS(OperationTest);

TEST_P(OperationTest, BuffersAreAlignedAndCounted) {
  EXPECT_FALSE(backend_->name().empty());
  const int64_t own = backend_->memory().activation_bytes;  // what its operations work in
  {
    auto buffer = backend_->Allocate(3, 5).value();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->tensor().data) % 64, 0u);
    EXPECT_EQ(backend_->memory().activation_bytes, own + 60);
  }
  EXPECT_EQ(backend_->memory().activation_bytes, own);
  EXPECT_EQ(backend_->Allocate(0, 5).status().code(), kInvalid);
  EXPECT_EQ(backend_->Allocate(int64_t{1} << 40, int64_t{1} << 40).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(backend_->memory().activation_bytes, own);
}

TEST_P(OperationTest, EmbedTakesRowsOfAnyType) {
  for (DType type : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (int64_t dim : {1, 2, 62, 127}) {
      const Weights table(type, 40, dim, 1, 1);
      const std::vector<int32_t> tokens = {0, 39, 7, 7, 21};
      auto out = backend_->Allocate(5, dim).value();
      ASSERT_TRUE(backend_->Embed(table.view(), tokens, out->tensor()).ok());
      const std::vector<float> values = Download(*backend_, out->tensor());
      for (int64_t r = 0; r < 5; ++r) {
        for (int64_t c = 0; c < dim; ++c) {
          EXPECT_EQ(values[static_cast<size_t>(r * dim + c)],
                    table.at(tokens[static_cast<size_t>(r)], c));
        }
      }
      auto vector = backend_->CopyVector({table.view().data, type, 1, dim}).value();
      EXPECT_EQ(Download(*backend_, vector->tensor())[0], table.at(0, 0));
    }
  }
  const Weights table(DType::kF32, 40, 8, 1, 1);
  auto out = backend_->Allocate(1, 8).value();
  EXPECT_EQ(backend_->Embed(table.view(), {40}, out->tensor()).code(), kInvalid);
  EXPECT_EQ(backend_->Embed(table.view(), {-1}, out->tensor()).code(), kInvalid);
  EXPECT_EQ(backend_->Embed(table.view(), {1, 2}, out->tensor()).code(), kInvalid);
  EXPECT_EQ(backend_->CopyVector(table.view()).status().code(), kInvalid);
  WeightView quantised = table.view();
  quantised.type = DType::kI8;
  EXPECT_EQ(backend_->Embed(quantised, {1}, out->tensor()).code(),
            absl::StatusCode::kUnimplemented);
}

// A product with the identity matrix shows what the norm made of its input.
TEST_P(OperationTest, NormAgreesWithTheFormula) {
  for (int64_t rows : {1, 62, 65}) {
    for (int64_t dim : {1, 15, 64, 127, 287}) {
      const std::vector<float> x = RandomFloats(rows * dim, 1, 3);
      const Weights weight(DType::kBF16, 1, dim, 3, 1);
      std::vector<float> identity(static_cast<size_t>(dim * dim));
      for (int64_t i = 0; i < dim; ++i) identity[static_cast<size_t>(i * dim + i)] = 1;
      auto matrix = backend_
                        ->PackMatrix({{{identity.data(), DType::kF32, dim, dim}}}, Epilogue::kNone,
                                     WeightFormat::kF32)
                        .value();
      auto w = backend_->CopyVector(weight.view()).value();
      auto bx = Upload(*backend_, x, rows, dim);
      auto out = backend_->Allocate(rows, dim).value();
      ASSERT_TRUE(
          backend_->Linear(*matrix, bx->tensor(), {w->tensor(), 1e-5f}, out->tensor()).ok());
      const std::vector<float> normed = Download(*backend_, out->tensor());
      for (int64_t r = 0; r < rows; ++r) {
        double squares = 0;
        for (int64_t c = 0; c < dim; ++c) {
          const double value = double{x[static_cast<size_t>(r * dim + c)]};
          squares += value * value;
        }
        const double norm = std::sqrt(squares / static_cast<double>(dim) + 1e-5);
        for (int64_t c = 0; c < dim; ++c) {
          const size_t at = static_cast<size_t>(r * dim + c);
          const double expected = double{x[at]} / norm * double{weight.at(0, c)};
          // Relative: a sum of squares has no cancellation, so a few epsilon cover it.
          EXPECT_NEAR(double{normed[at]}, expected, 8 * double{kEpsilon} * std::abs(expected));
        }
      }
      auto narrow = backend_->Allocate(1, dim + 1).value();
      EXPECT_EQ(
          backend_->Linear(*matrix, bx->tensor(), {narrow->tensor(), 1e-5f}, out->tensor()).code(),
          kInvalid);
      EXPECT_EQ(backend_->Linear(*matrix, bx->tensor(), {w->tensor(), -1}, out->tensor()).code(),
                kInvalid);
    }
  }
}

TEST_P(OperationTest, GatherRowsCopiesRows) {
  const std::vector<float> values = RandomFloats(10 * 7, 4);
  auto in = Upload(*backend_, values, 10, 7), out = backend_->Allocate(3, 7).value();
  ASSERT_TRUE(backend_->GatherRows(in->tensor(), {9, 0, 9}, out->tensor()).ok());
  const std::vector<float> got = Download(*backend_, out->tensor());
  for (size_t c = 0; c < 7; ++c) {
    EXPECT_EQ(got[c], values[63 + c]);
    EXPECT_EQ(got[7 + c], values[c]);
    EXPECT_EQ(got[14 + c], values[63 + c]);
  }
  EXPECT_EQ(backend_->GatherRows(in->tensor(), {10, 0, 1}, out->tensor()).code(), kInvalid);
  EXPECT_EQ(backend_->GatherRows(in->tensor(), {-1, 0, 1}, out->tensor()).code(), kInvalid);
  EXPECT_EQ(backend_->GatherRows(in->tensor(), {0}, out->tensor()).code(), kInvalid);
}

TEST(CreateBackendTest, RefusesNegativeOptions) {
  CpuOptions options;
  options.threads = -1;
  EXPECT_EQ(CreateCpuBackend(options).status().code(), kInvalid);
  options = {};
  options.state_capacity_bytes = -1;
  EXPECT_EQ(CreateCpuBackend(options).status().code(), kInvalid);
  EXPECT_EQ(CreateReferenceBackend(-1).status().code(), kInvalid);
  EXPECT_EQ(CreateCpuBackend({}).value()->memory().state_capacity_bytes,
            CpuOptions().state_capacity_bytes);
}

}  // namespace
}  // namespace longleaf::kernels
