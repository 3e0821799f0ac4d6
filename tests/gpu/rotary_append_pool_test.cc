// Rotation, appending and pooling on the device, against the reference and against themselves.
#include "kernels/cuda/rotary_append_pool.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/step_tables.h"
#include "kernels/state_rounding.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/gpu/state_fixture.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Head sizes that pieces of 16 bytes fit and do not, groups of one token, odd ones, and larger than
// a page; cores by query and by key head.
std::vector<StateShape> ManyShapes() {
  std::vector<StateShape> shapes = Shapes();
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    shapes.push_back(ShapeOf(4, 2, 128, "cca:g=16,w=64,heads=query", dtype));
    shapes.push_back(ShapeOf(6, 2, 96, "cca:g=7,w=14,heads=kv", dtype));
    shapes.push_back(ShapeOf(2, 1, 256, "cca:g=3,w=3,heads=query", dtype));
    shapes.push_back(ShapeOf(2, 2, 250, "cca:g=3,w=3,heads=query", dtype));
    shapes.push_back(ShapeOf(9, 9, 24, "cca:g=2,w=4,heads=query", dtype));
    shapes.push_back(ShapeOf(3, 1, 34, "cca:g=70,w=70,heads=kv", dtype));
  }
  return shapes;
}

class RotaryAppendPoolTest : public DeviceStateTest {
 protected:
  struct Part {
    CudaState* state;
    const Sequence* sequence;
    int64_t rows;
  };

  // One step of all layers. Returns the rotated rows of the last layer.
  std::vector<float> Step(const std::vector<Part>& parts, int64_t first_position = 0) {
    const StateShape& shape = parts[0].state->shape();
    const int64_t cols = parts[0].sequence->width;
    std::vector<BatchItem> batch;
    int64_t rows = 0;
    for (const Part& part : parts) {
      EXPECT_TRUE(part.state->Grow(part.rows));
      batch.push_back({part.state, part.rows, 0});
      rows += part.rows;
    }
    EXPECT_TRUE(tables_.Begin(batch, stream_.get()).ok());
    EXPECT_TRUE(table_
                    .Prepare(tables_.view(), RotaryFor(shape, first_position), shape.head_dim,
                             stream_.get())
                    .ok());
    std::vector<float> qkv;
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      qkv.clear();
      for (const Part& part : parts) {
        EXPECT_TRUE(part.state->CopySharedPages(layer, stream_.get()).ok());
        const float* from =
            part.sequence->layers[static_cast<size_t>(layer)].data() + part.state->tokens() * cols;
        qkv.insert(qkv.end(), from, from + part.rows * cols);
      }
      const int64_t bytes = rows * cols * int64_t{sizeof(float)};
      auto device = DeviceMemory::Allocate(bytes).value();
      EXPECT_TRUE(Copy(device.data(), qkv.data(), bytes, stream_.get()).ok());
      const Tensor tensor{device.as<float>(), rows, cols};
      const absl::Status status = RotaryAppendPool(layer, StepShapeOf(shape), tables_.view(),
                                                   table_, tensor, stream_.get());
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_TRUE(Copy(qkv.data(), device.data(), bytes, stream_.get()).ok());
      EXPECT_TRUE(stream_.Synchronize().ok());
    }
    for (const Part& part : parts) part.state->Commit();
    transfer_->StepCommitted();
    return qkv;
  }

  StepTables tables_;
  RotaryTable table_;
};

// The reference's, and the rotated rows of the last layer.
struct Expected {
  std::vector<Content> contents;
  std::vector<float> qkv;
};
Expected OnReference(const StateShape& shape, const Sequence& sequence, int64_t tokens,
                     int64_t first_position) {
  auto reference = Make(Kind::kReference);
  auto state = reference->NewState(shape).value();
  const BatchItem item = {state.get(), tokens, 0};
  EXPECT_TRUE(reference->BeginStep({&item, 1}).ok());
  Expected expected;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    expected.qkv.assign(
        sequence.layers[static_cast<size_t>(layer)].begin(),
        sequence.layers[static_cast<size_t>(layer)].begin() + tokens * sequence.width);
    EXPECT_TRUE(reference
                    ->RotaryAppendPool(layer, {&item, 1}, RotaryFor(shape, first_position),
                                       {expected.qkv.data(), tokens, sequence.width})
                    .ok());
  }
  reference->CommitStep({&item, 1});
  expected.contents = ContentsOf(*reference, *state);
  return expected;
}

// The numbers that canonical bytes stand for: keys, then values.
std::vector<float> NumbersOf(const StateShape& shape, const Content& content) {
  const int64_t heads = content.part == StatePart::kCore ? shape.core_heads() : shape.kv_heads;
  const int64_t rows = content.count * heads, d = shape.head_dim;
  std::vector<float> numbers(static_cast<size_t>(2 * rows * d));
  const int64_t elements = rows * d * SizeOf(shape.dtype);
  for (int64_t half = 0; half < 2; ++half) {
    const std::byte* from = content.bytes.data() + half * rows * shape.row_bytes();
    for (int64_t r = 0; r < rows; ++r) {
      float scale = 1;
      if (shape.dtype == DType::kI8) std::memcpy(&scale, from + elements + 4 * r, 4);
      ReadRow(shape.dtype, from + r * d * SizeOf(shape.dtype), scale, d,
              numbers.data() + (half * rows + r) * d);
    }
  }
  return numbers;
}

TEST_F(RotaryAppendPoolTest, IsNearTheReference) {
  for (const StateShape& shape : ManyShapes()) {
    SCOPED_TRACE(Describe(shape));
    const int64_t tokens = 150;
    const Sequence sequence(shape, tokens, 3);
    const Expected expected = OnReference(shape, sequence, tokens, 100000);
    auto state = NewState(shape);
    const std::vector<float> qkv = Step({{state.get(), &sequence, tokens}}, 100000);
    // Queries in place; keys may be rotated or not, values stay.
    for (int64_t r = 0; r < tokens; ++r) {
      for (int64_t c = 0; c < shape.query_heads * shape.head_dim; ++c) {
        const size_t at = static_cast<size_t>(r * sequence.width + c);
        ASSERT_NEAR(qkv[at], expected.qkv[at], 4e-6f) << r << " " << c;
      }
    }
    const std::vector<Content> actual = Exported(*state);
    ASSERT_EQ(actual.size(), expected.contents.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      const std::vector<float> a = NumbersOf(shape, actual[i]);
      const std::vector<float> b = NumbersOf(shape, expected.contents[i]);
      ASSERT_EQ(a.size(), b.size());
      if (a.empty()) continue;
      EXPECT_LE(LargestGap(a, b), StateTolerance(shape) * LargestMagnitude(b));
    }
  }
  EXPECT_EQ(emulator::FailedLaunches(), 0);
}

// Values are not computed with before they are rounded: theirs are the bits of state_rounding.h,
// also of numbers that cannot be kept.
TEST_F(RotaryAppendPoolTest, RoundsToTheSameBits) {
  std::mt19937 random(5);
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    for (int64_t d : {2, 6, 64, 72, 96, 128, 256}) {
      const StateShape shape = ShapeOf(1, 1, d, "full", dtype);
      SCOPED_TRACE(Describe(shape));
      const int64_t tokens = 200;
      Sequence sequence(shape, tokens, 7);
      for (std::vector<float>& layer : sequence.layers) {
        for (int64_t t = 0; t < tokens; ++t) {
          float* const value = layer.data() + t * sequence.width + 2 * d;
          const float scale = std::ldexp(1.0f, static_cast<int>(random() % 250) - 125);
          for (int64_t k = 0; k < d; ++k) value[k] *= scale;
          float& one = value[random() % static_cast<uint64_t>(d)];
          if (t % 10 == 0) one = kNaN;
          if (t % 10 == 1) one = -kInfinity;
          if (t % 10 == 2) one = -kLargestRow;
          if (t % 10 == 3) one = std::nextafter(kLargestRow, 0.0f);
          if (t % 10 == 4) std::fill_n(value, d, 0.0f);
          if (t % 10 == 5) std::fill_n(value, d, kSmallestRow);
          if (t % 10 == 6) std::fill_n(value, d, std::nextafter(kSmallestRow, 0.0f));
          if (t % 10 == 7) {  // ties
            for (int64_t k = 0; k < d; ++k) value[k] = static_cast<float>(random() % 255) - 127;
            one = 254;
          }
        }
      }
      auto state = NewState(shape);
      Step({{state.get(), &sequence, tokens}});
      const Expected expected = OnReference(shape, sequence, tokens, 0);
      const std::vector<Content> actual = Exported(*state);
      for (size_t i = 0; i < actual.size(); ++i) {
        const size_t half = actual[i].bytes.size() / 2;
        if (half == 0) continue;  // no cores
        EXPECT_EQ(std::memcmp(actual[i].bytes.data() + half,
                              expected.contents[i].bytes.data() + half, half),
                  0);
      }
    }
  }
}

// Whatever steps a sequence is read in, and beside whatever others: the same bits.
TEST_F(RotaryAppendPoolTest, StepsDoNotShowInTheState) {
  const std::vector<StateShape> shapes = ManyShapes();
  for (size_t i = 0; i < shapes.size(); i += 2) {
    const StateShape& shape = shapes[i];
    SCOPED_TRACE(Describe(shape));
    const int64_t tokens = 140;
    const Sequence sequence(shape, tokens, 3), other(shape, tokens, 4);
    auto whole = NewState(shape), pieces = NewState(shape), beside = NewState(shape);
    Step({{whole.get(), &sequence, tokens}});
    for (int64_t rows : {1, 2, 62, 1, 33, 40, 1}) {
      Step({{beside.get(), &other, 5}, {pieces.get(), &sequence, rows}});
    }
    // Raw tokens are let go of by steps, not by tokens: only what both still hold is compared.
    ASSERT_EQ(pieces->tokens(), tokens);
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      EXPECT_EQ(Export(*pieces, layer, StatePart::kCore, 0, pieces->cores()),
                Export(*whole, layer, StatePart::kCore, 0, pieces->cores()));
      const int64_t first = std::max(pieces->first_raw(), whole->first_raw());
      EXPECT_EQ(Export(*pieces, layer, StatePart::kRaw, first, tokens - first),
                Export(*whole, layer, StatePart::kRaw, first, tokens - first));
    }
  }
}

TEST_F(RotaryAppendPoolTest, AnglesAreOfDoubles) {
  const StateShape shape = ShapeOf(1, 1, 8, "full");
  auto state = NewState(shape);
  ASSERT_TRUE(state->Grow(3));
  const BatchItem item = {state.get(), 3, 0};
  ASSERT_TRUE(tables_.Begin({&item, 1}, stream_.get()).ok());
  const Rotary rotary = RotaryFor(shape, 1000000);
  ASSERT_TRUE(table_.Prepare(tables_.view(), rotary, 8, stream_.get()).ok());
  std::vector<float> angles(3 * 8);
  ASSERT_TRUE(Copy(angles.data(), table_.angles(), 3 * 8 * 4, stream_.get()).ok());
  ASSERT_TRUE(stream_.Synchronize().ok());
  for (int64_t r = 0; r < 3; ++r) {
    for (int64_t k = 0; k < 4; ++k) {
      const double angle =
          static_cast<double>(1000000 + r) * rotary.inverse_frequencies[static_cast<size_t>(k)];
      EXPECT_NEAR(angles[static_cast<size_t>(r * 8 + k)], std::cos(angle), 1e-7);
      EXPECT_NEAR(angles[static_cast<size_t>(r * 8 + 4 + k)], std::sin(angle), 1e-7);
    }
  }
  // Equal steps leave it where it is; what a recorded launch would not know is told.
  const int64_t generation = table_.generation();
  const float* const address = table_.angles();
  ASSERT_TRUE(table_.Prepare(tables_.view(), rotary, 8, stream_.get()).ok());
  EXPECT_EQ(table_.generation(), generation);
  EXPECT_EQ(table_.angles(), address);
  ASSERT_TRUE(table_.Prepare(tables_.view(), RotaryFor(shape, 5), 8, stream_.get()).ok());
  EXPECT_GT(table_.generation(), generation);
  state->Abort();
}

TEST_F(RotaryAppendPoolTest, RefusesHeadsThatAreTooLarge) {
  const StepShape shape = StepShapeOf(ShapeOf(1, 1, 258, "full"));
  EXPECT_EQ(RotaryAppendPool(0, shape, {}, table_, {}, stream_.get()).code(),
            absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace longleaf::kernels::cuda
