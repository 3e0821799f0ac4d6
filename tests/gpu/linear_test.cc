// Products on the device below the backend: every format on every chip, scratch memory, what a
// row's bits depend on, and failures. The backends' own tests hold the operations against the
// reference.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/cuda_linear.h"
#include "kernels/float_types.h"
#include "kernels/quantised.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/unit/kernels/backend_fixture.h"
#include "tests/unit/kernels/weights.h"

namespace longleaf::kernels::cuda {
namespace {

// Sums of products in f32, to the sum of their magnitudes. The chip's fp8 units keep 14 bits
// between the partial sums they hand on; everything else adds in f32.
double SumTolerance(WeightFormat format) {
  return format == WeightFormat::kFP8 ? 0x1p-12 : 16 * double{kEpsilon};
}
// A SiLU gate's halves are rounded to bf16 before they are joined, each to 2^-9 of itself, which
// SiLU makes up to 1 + |gate| times as much.
double GateTolerance(double gate) { return 0x1p-8 * (2 + std::abs(gate)); }

class CudaLinearTest : public testing::Test {
 protected:
  void SetUp() override { Start(90); }
  void TearDown() override {
    emulator::FailCall(0, cudaSuccess);
    emulator::SetComputeCapability(80);
    EXPECT_EQ(emulator::FailedLaunches(), failed_before_);
  }

  void Start(int capability) {
    emulator::SetComputeCapability(capability);
    linear_.reset();
    linear_ = CudaLinear::Create(capability, stream_.get(), &weight_bytes_).value();
  }

  // f32 in device memory.
  struct Rows {
    DeviceMemory memory;
    Tensor tensor;
  };
  Rows Device(const std::vector<float>& values, int64_t rows, int64_t cols) {
    Rows out{DeviceMemory::Allocate(rows * cols * int64_t{sizeof(float)}).value(), {}};
    out.tensor = {out.memory.as<float>(), rows, cols};
    EXPECT_TRUE(Copy(out.memory.data(), values.data(), out.memory.bytes(), stream_.get()).ok());
    return out;
  }
  Rows Poisoned(int64_t rows, int64_t cols) {
    return Device(std::vector<float>(static_cast<size_t>(rows * cols), std::nanf("")), rows, cols);
  }
  std::vector<float> Host(const Tensor& from) {
    std::vector<float> out(static_cast<size_t>(from.rows * from.cols));
    EXPECT_TRUE(Copy(out.data(), from.data, from.rows * from.cols * 4, stream_.get()).ok());
    EXPECT_TRUE(stream_.Synchronize().ok());
    return out;
  }

  std::unique_ptr<CudaMatrix> Pack(const std::vector<WeightView>& parts, Epilogue epilogue,
                                   WeightFormat format) {
    auto matrix = linear_->Pack(parts, epilogue, format);
    EXPECT_TRUE(matrix.ok()) << matrix.status();
    return *std::move(matrix);
  }
  std::vector<float> Run(const CudaMatrix& weight, const std::vector<float>& x, int64_t rows,
                         int64_t width) {
    const Rows in = Device(x, rows, weight.in_features()), out = Poisoned(rows, width);
    const absl::Status status = linear_->Linear(weight, in.tensor, {}, out.tensor);
    EXPECT_TRUE(status.ok()) << status;
    return Host(out.tensor);
  }

  Stream stream_ = Stream::Create().value();
  int64_t weight_bytes_ = 0;
  std::unique_ptr<CudaLinear> linear_;
  const int64_t failed_before_ = emulator::FailedLaunches();
};

// Row `row` of all parts, as a product in `format` sees it.
std::vector<float> RoundedRow(WeightFormat format, const std::vector<const Weights*>& parts,
                              int64_t row) {
  size_t part = 0;
  while (row >= parts[part]->rows) row -= parts[part++]->rows;
  std::vector<float> out;
  for (int64_t k = 0; k < parts[part]->cols; ++k) out.push_back(parts[part]->at(row, k));
  RoundForProduct(format, /*as_weights=*/true, parts[part]->cols, out.data());
  return out;
}

struct Sum {
  double value = 0;
  double magnitudes = 0;
};
Sum Dot(const std::vector<float>& a, const std::vector<float>& b) {
  Sum sum;
  for (size_t k = 0; k < a.size(); ++k) {
    const double product = double{a[k]} * double{b[k]};
    sum.value += product;
    sum.magnitudes += std::abs(product);
  }
  return sum;
}

TEST_F(CudaLinearTest, EveryFormatOnEveryChipAgreesWithASumInDouble) {
  struct Case {
    WeightFormat format;
    int capability;
  };
  constexpr int64_t kIn = 160;
  for (const Case& c : {Case{WeightFormat::kF32, 80}, Case{WeightFormat::kBF16, 80},
                        Case{WeightFormat::kBF16, 90}, Case{WeightFormat::kFP8, 89},
                        Case{WeightFormat::kFP8, 90}, Case{WeightFormat::kFP8, 100}}) {
    Start(c.capability);
    const Weights f32(DType::kF32, 48, kIn, 1, 0.3f), bf16(DType::kBF16, 16, kIn, 2, 0.3f),
        f16(DType::kF16, 32, kIn, 3, 0.3f);
    auto matrix = Pack({f32.view(), bf16.view(), f16.view()}, Epilogue::kNone, c.format);
    std::vector<std::vector<float>> weights;
    for (int64_t n = 0; n < 96; ++n) {
      weights.push_back(RoundedRow(c.format, {&f32, &bf16, &f16}, n));
    }
    for (const int64_t rows : {1, 3, 64, 65, 130}) {
      const std::vector<float> x = RandomFloats(rows * kIn, 4), before = RandomFloats(rows * 96, 5);
      const std::vector<float> y = Run(*matrix, x, rows, 96);
      const Rows in = Device(x, rows, kIn), sum = Device(before, rows, 96);
      ASSERT_TRUE(linear_->AddLinear(*matrix, in.tensor, sum.tensor).ok());
      const std::vector<float> added = Host(sum.tensor);
      for (int64_t r = 0; r < rows; ++r) {
        std::vector<float> row(x.begin() + r * kIn, x.begin() + (r + 1) * kIn);
        RoundForProduct(c.format, /*as_weights=*/false, kIn, row.data());
        for (int64_t n = 0; n < 96; ++n) {
          const Sum expected = Dot(row, weights[static_cast<size_t>(n)]);
          const size_t at = static_cast<size_t>(r * 96 + n);
          const double bound = SumTolerance(c.format) * expected.magnitudes;
          ASSERT_NEAR(double{y[at]}, expected.value, bound)
              << NameOf(c.format) << " on " << c.capability << ", row " << r << " of " << rows;
          ASSERT_NEAR(double{added[at]}, double{before[at]} + expected.value, bound + 1e-6);
        }
      }
    }
  }
}

TEST_F(CudaLinearTest, ASiluGateJoinsItsHalves) {
  constexpr int64_t kIn = 64, kWidth = 80, kRows = 5;
  const Weights gate(DType::kF32, kWidth, kIn, 1, 0.3f), up(DType::kBF16, kWidth, kIn, 2, 0.3f);
  const std::vector<float> x = RandomFloats(kRows * kIn, 3);
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kFP8}) {
    const auto g = Run(*Pack({gate.view()}, Epilogue::kNone, format), x, kRows, kWidth);
    const auto u = Run(*Pack({up.view()}, Epilogue::kNone, format), x, kRows, kWidth);
    const auto y =
        Run(*Pack({gate.view(), up.view()}, Epilogue::kSiluGate, format), x, kRows, kWidth);
    for (size_t i = 0; i < y.size(); ++i) {
      const double expected = double{g[i]} / (1 + std::exp(-double{g[i]})) * double{u[i]};
      const double tolerance =
          format == WeightFormat::kF32 ? 8 * double{kEpsilon} : GateTolerance(double{g[i]});
      ASSERT_NEAR(double{y[i]}, expected, tolerance * std::abs(expected)) << NameOf(format);
    }
  }
}

// A layer as a whole has the bits of its parts, and so the same roundings in between.
TEST_F(CudaLinearTest, FeedForwardIsItsParts) {
  constexpr int64_t kDim = 48, kInner = 80;
  const Weights gate(DType::kF32, kInner, kDim, 1, 0.3f), up(DType::kF32, kInner, kDim, 2, 0.3f);
  const Weights out(DType::kF32, kDim, kInner, 3, 0.3f);
  const Rows norm = Device(RandomFloats(kDim, 4), 1, kDim);
  const RmsNorm rms{norm.tensor, 1e-5f};
  for (const int capability : {89, 90}) {
    Start(capability);
    for (const WeightFormat format :
         {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kFP8}) {
      auto gate_up = Pack({gate.view(), up.view()}, Epilogue::kSiluGate, format);
      auto down = Pack({out.view()}, Epilogue::kNone, format);
      for (const int64_t rows : {1, 7, 70}) {
        const std::vector<float> x = RandomFloats(rows * kDim, 5);
        const Rows whole = Device(x, rows, kDim), parts = Device(x, rows, kDim),
                   gated = Poisoned(rows, kInner);
        ASSERT_TRUE(linear_->FeedForward(whole.tensor, rms, *gate_up, *down).ok());
        ASSERT_TRUE(linear_->Linear(*gate_up, parts.tensor, rms, gated.tensor).ok());
        ASSERT_TRUE(linear_->AddLinear(*down, gated.tensor, parts.tensor).ok());
        ASSERT_EQ(Host(whole.tensor), Host(parts.tensor)) << NameOf(format) << ' ' << rows;
        ASSERT_NE(Host(whole.tensor), x);
      }
    }
  }
}

// Inside a range of row counts a row has the same bits whatever is beside it; the emulator's
// algorithms differ from range to range, so that the choice shows.
TEST_F(CudaLinearTest, ARowHasTheSameBitsInAllOfARange) {
  constexpr int64_t kIn = 304, kOut = 64, kRows = 256;
  const Weights weights(DType::kF32, kOut, kIn, 1, 0.3f);
  const std::vector<float> x = RandomFloats(kRows * kIn, 2);
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kFP8}) {
    auto matrix = Pack({weights.view()}, Epilogue::kNone, format);
    const auto some = [&](int64_t first, int64_t rows) {
      return Run(*matrix, {x.begin() + first * kIn, x.begin() + (first + rows) * kIn}, rows, kOut);
    };
    const std::vector<float> few = some(0, 64), many = some(0, 256), between = some(0, 100);
    for (const int64_t rows : {1, 2, 17, 63}) {
      ASSERT_TRUE(std::ranges::equal(
          some(0, rows), absl::MakeSpan(few).subspan(0, static_cast<size_t>(rows * kOut))));
    }
    for (const int64_t rows : {129, 200}) {
      ASSERT_TRUE(std::ranges::equal(
          some(256 - rows, rows),
          absl::MakeSpan(many).subspan(static_cast<size_t>((256 - rows) * kOut))));
    }
    EXPECT_FALSE(std::equal(few.begin(), few.end(), many.begin())) << "one algorithm for all";
    EXPECT_FALSE(std::equal(between.begin(), between.end(), many.begin()));
  }
}

TEST_F(CudaLinearTest, ReserveMakesRoomAndScratchMovesOnlyWhenItGrows) {
  constexpr int64_t kDim = 32, kInner = 64;
  const Weights gate(DType::kF32, kInner, kDim, 1, 0.3f), out(DType::kF32, kDim, kInner, 3, 0.3f);
  for (const int capability : {89, 90}) {
    Start(capability);
    auto gate_up = Pack({gate.view(), gate.view()}, Epilogue::kSiluGate, WeightFormat::kFP8);
    auto down = Pack({out.view()}, Epilogue::kNone, WeightFormat::kFP8);
    const int64_t packed = linear_->generation();
    ASSERT_TRUE(linear_->Reserve(40).ok());
    EXPECT_GT(linear_->generation(), packed);
    const int64_t generation = linear_->generation(), bytes = linear_->scratch_bytes();
    const Rows x = Device(RandomFloats(41 * kDim, 4), 41, kDim);
    for (const int64_t rows : {40, 1, 17}) {
      ASSERT_TRUE(linear_->FeedForward(x.tensor.Rows(rows), {}, *gate_up, *down).ok());
    }
    ASSERT_TRUE(linear_->Reserve(12).ok());
    EXPECT_EQ(linear_->generation(), generation);
    EXPECT_EQ(linear_->scratch_bytes(), bytes);
    ASSERT_TRUE(linear_->FeedForward(x.tensor, {}, *gate_up, *down).ok());
    EXPECT_GT(linear_->generation(), generation);
    ASSERT_TRUE(stream_.Synchronize().ok());
  }
}

// Parts larger than a piece of pinned memory, unaligned, in every format.
TEST_F(CudaLinearTest, LargeWeightsComeInPieces) {
  constexpr int64_t kOut = 272, kIn = 16384;  // 17 MB in f32
  const Weights weights(DType::kF32, kOut, kIn, 1, 0.3f);
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kFP8}) {
    auto matrix = Pack({weights.view()}, Epilogue::kNone, format);
    std::vector<std::byte> numbers(static_cast<size_t>(kOut * kIn * SizeOf(matrix->operand())));
    ASSERT_TRUE(Copy(numbers.data(), matrix->weights(), std::ssize(numbers), stream_.get()).ok());
    std::vector<float> scales(kOut, 1);
    if (format == WeightFormat::kFP8) {
      ASSERT_TRUE(Copy(scales.data(), matrix->scales(), kOut * 4, stream_.get()).ok());
    }
    ASSERT_TRUE(stream_.Synchronize().ok());
    for (int64_t n = 0; n < kOut; n += n < 240 ? 17 : 1) {
      const std::vector<float> expected = RoundedRow(format, {&weights}, n);
      for (int64_t k = 0; k < kIn; ++k) {
        const size_t at = static_cast<size_t>(n * kIn + k);
        const float got =
            format == WeightFormat::kFP8
                ? FloatFromE4M3(static_cast<uint8_t>(numbers[at])) * scales[static_cast<size_t>(n)]
                : LoadElement(numbers.data(),
                              format == WeightFormat::kBF16 ? DType::kBF16 : DType::kF32,
                              static_cast<int64_t>(at));
        ASSERT_EQ(got, expected[static_cast<size_t>(k)]) << NameOf(format) << ' ' << n << ' ' << k;
      }
    }
  }
}

TEST_F(CudaLinearTest, RefusesWhatItCannotMultiply) {
  const Weights weights(DType::kF32, 16, 16, 1, 1), odd(DType::kF32, 17, 16, 1, 1);
  const auto pack = [&](const Weights& w, WeightFormat format) {
    return linear_->Pack({{w.view()}}, Epilogue::kNone, format).status();
  };
  constexpr auto kUnimplemented = absl::StatusCode::kUnimplemented;
  EXPECT_EQ(pack(weights, WeightFormat::kI8).code(), kUnimplemented);
  EXPECT_EQ(pack(weights, WeightFormat::kI4).code(), kUnimplemented);
  EXPECT_EQ(pack(odd, WeightFormat::kFP8).code(), kUnimplemented);
  EXPECT_TRUE(pack(odd, WeightFormat::kBF16).ok());
  EXPECT_TRUE(pack(weights, WeightFormat::kFP8).ok());
  Start(86);
  EXPECT_EQ(pack(weights, WeightFormat::kFP8).code(), kUnimplemented);
  EXPECT_EQ(weight_bytes_, 0);
}

// Whatever call of the device fails, the answer is a Status, and the next attempt works.
TEST_F(CudaLinearTest, FailuresOfTheDeviceAreStatuses) {
  const Weights gate(DType::kF32, 32, 16, 1, 0.3f), out(DType::kF32, 16, 32, 2, 0.3f);
  const Rows x = Device(RandomFloats(3 * 16, 3), 3, 16);
  ASSERT_TRUE(stream_.Synchronize().ok());
  int failures = 0;
  for (int64_t call = 1; call < 200; ++call) {
    linear_.reset();
    const int64_t before = emulator::Calls();
    emulator::FailCall(call, cudaErrorMemoryAllocation);
    const absl::Status status = [&] {
      auto linear = CudaLinear::Create(90, stream_.get(), &weight_bytes_);
      if (!linear.ok()) return linear.status();
      linear_ = *std::move(linear);
      auto gate_up =
          linear_->Pack({{gate.view(), gate.view()}}, Epilogue::kSiluGate, WeightFormat::kFP8);
      if (!gate_up.ok()) return gate_up.status();
      auto down = linear_->Pack({{out.view()}}, Epilogue::kNone, WeightFormat::kFP8);
      if (!down.ok()) return down.status();
      absl::Status done = linear_->FeedForward(x.tensor, {}, **gate_up, **down);
      if (done.ok()) done = linear_->Reserve(64);
      return done;
    }();
    emulator::FailCall(0, cudaSuccess);
    EXPECT_EQ(weight_bytes_, 0);
    if (emulator::Calls() - before < call) break;  // all have failed once
    failures += status.ok() ? 0 : 1;
  }
  EXPECT_GT(failures, 10);
  Start(90);
  auto matrix = Pack({gate.view()}, Epilogue::kNone, WeightFormat::kFP8);
  EXPECT_EQ(Run(*matrix, RandomFloats(16, 3), 1, 32).size(), 32u);
}

}  // namespace
}  // namespace longleaf::kernels::cuda
