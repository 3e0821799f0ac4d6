// The bytes of states of every policy and type, and what damaged ones lead to. Round trips of real
// states are in tests/golden.
#include "model/state_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/reference.h"
#include "tests/unit/model/state_shapes.h"

namespace longleaf::model {
namespace {

class Codec : public testing::Test {
 protected:
  // Decodes `bytes` into a new state, segment by segment.
  absl::Status Decode(const SnapshotLayout& layout, const std::string& bytes,
                      std::unique_ptr<kernels::State>* out) {
    auto state = backend_.NewState(layout.shape());
    EXPECT_TRUE(state.ok());
    size_t at = 0;
    const auto read = [&](absl::Span<std::byte> piece) -> absl::Status {
      if (at + piece.size() > bytes.size()) return absl::OutOfRangeError("cut");
      std::memcpy(piece.data(), bytes.data() + at, piece.size());
      at += piece.size();
      return absl::OkStatus();
    };
    absl::Status status = PrepareRestore(backend_, layout, **state);
    for (int64_t segment = 0; status.ok() && segment < layout.segments(); ++segment) {
      status = DecodeSegment(backend_, layout, segment, read, **state);
    }
    if (status.ok()) status = DecodeTail(backend_, layout, read, **state);
    if (status.ok()) EXPECT_EQ(at, bytes.size());
    *out = *std::move(state);
    return status;
  }
  std::string Encode(const SnapshotLayout& layout, const kernels::State& state) {
    std::string bytes;
    const auto write = [&bytes](absl::Span<const std::byte> piece) {
      bytes.append(reinterpret_cast<const char*>(piece.data()), piece.size());
      return absl::OkStatus();
    };
    for (int64_t segment = 0; segment < layout.segments(); ++segment) {
      EXPECT_TRUE(EncodeSegment(backend_, state, layout, segment, write).ok());
      EXPECT_EQ(static_cast<int64_t>(bytes.size()), (segment + 1) * layout.SegmentBytes());
    }
    EXPECT_TRUE(EncodeTail(backend_, state, layout, write).ok());
    return bytes;
  }
  // Bytes that are finite numbers of every type, whatever is read into them.
  static std::string Numbers(int64_t bytes) {
    std::string out(static_cast<size_t>(bytes), '\0');
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(i * 7 % 0x61);
    return out;
  }

  kernels::ReferenceBackend backend_{int64_t{64} << 20};
};

TEST_F(Codec, RoundTripOfEveryPolicyAndLength) {
  for (const AttentionPolicy& policy : kPolicies) {
    for (const int64_t tokens : {1, 7, 8, 39, 40, 41, 100, 300}) {
      for (const DType dtype : kTypes) {
        const auto layout = SnapshotLayout::For(ShapeOf(policy, dtype), tokens, 20);
        const std::string bytes = Numbers(layout->TotalBytes());
        std::unique_ptr<kernels::State> state;
        ASSERT_TRUE(Decode(*layout, bytes, &state).ok());
        EXPECT_EQ(state->tokens(), tokens);
        EXPECT_TRUE(Encode(*layout, *state) == bytes) << policy.ToString() << " " << tokens;
      }
    }
  }
}

TEST_F(Codec, CutOrUnreadableSourceEndsTheRestore) {
  const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[1]), 100, 20);
  const std::string bytes = Numbers(layout->TotalBytes());
  std::unique_ptr<kernels::State> state;
  for (const size_t keep : {size_t{0}, bytes.size() / 3, bytes.size() - 4}) {
    EXPECT_EQ(Decode(*layout, bytes.substr(0, keep), &state).code(), absl::StatusCode::kOutOfRange);
  }
}

// Layer after layer, the segments in turns, from a source that shows the bytes in pieces of its
// own.
TEST_F(Codec, LayerByLayerIsTheWhole) {
  for (const AttentionPolicy& policy : kPolicies) {
    for (const size_t piece : {size_t{4}, size_t{52}, size_t{1} << 20}) {
      const auto layout = SnapshotLayout::For(ShapeOf(policy), 300, 140);
      const std::string bytes = Numbers(layout->TotalBytes());
      auto state = backend_.NewState(layout->shape());
      ASSERT_TRUE(PrepareRestore(backend_, *layout, **state).ok());
      std::vector<SegmentDecoder> decoders;
      std::vector<size_t> at;
      for (int64_t segment = 0; segment <= layout->segments(); ++segment) {
        auto decoder = SegmentDecoder::Create(backend_, *layout, segment, **state);
        ASSERT_TRUE(decoder.ok()) << decoder.status();
        at.push_back(static_cast<size_t>(segment * layout->SegmentBytes()));
        decoders.push_back(*std::move(decoder));
      }
      std::vector<std::byte> scratch;
      for (int64_t layer = 0; layer < layout->shape().layers; ++layer) {
        for (size_t i = 0; i < decoders.size(); ++i) {
          EXPECT_FALSE((*state)->LayerReady(layer));
          EXPECT_EQ(decoders[i].next_layer(), layer);
          const size_t begin = at[i];
          const auto next = [&](size_t most) -> absl::StatusOr<absl::Span<const std::byte>> {
            const size_t count = std::min(most, piece - at[i] % piece);
            const auto* from = reinterpret_cast<const std::byte*>(bytes.data()) + at[i];
            at[i] += count;
            return absl::MakeConstSpan(from, count);
          };
          ASSERT_TRUE(decoders[i].DecodeNextLayer(next, scratch).ok());
          EXPECT_EQ(static_cast<int64_t>(at[i] - begin), decoders[i].LayerBytes());
        }
        EXPECT_TRUE((*state)->LayerReady(layer));
      }
      EXPECT_EQ(at.back(), bytes.size());
      EXPECT_TRUE(Encode(*layout, **state) == bytes) << policy.ToString() << " " << piece;
      const auto none = [](size_t) -> absl::StatusOr<absl::Span<const std::byte>> {
        return absl::InternalError("not asked");
      };
      EXPECT_EQ(decoders[0].DecodeNextLayer(none, scratch).code(),
                absl::StatusCode::kInvalidArgument);
    }
  }
}

TEST_F(Codec, ALayerThatIsCutOrNotFiniteIsNeverReady) {
  const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[0]), 150, 150);
  std::string bytes = Numbers(layout->TotalBytes());
  const auto layer_bytes = static_cast<size_t>(layout->TotalBytes() / layout->shape().layers);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const size_t damaged : {size_t{0}, layer_bytes - 4, layer_bytes, 2 * layer_bytes - 4}) {
    for (const bool cut : {true, false}) {
      std::string bad = bytes;
      std::memcpy(bad.data() + damaged, &infinity, sizeof(infinity));
      auto state = backend_.NewState(layout->shape());
      ASSERT_TRUE(PrepareRestore(backend_, *layout, **state).ok());
      auto decoder = SegmentDecoder::Create(backend_, *layout, 0, **state);
      ASSERT_TRUE(decoder.ok());
      size_t at = 0;
      const auto next = [&](size_t most) -> absl::StatusOr<absl::Span<const std::byte>> {
        if (cut && at + most > damaged) return absl::OutOfRangeError("cut");
        at += most;
        return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bad.data()) + at - most,
                                   most);
      };
      std::vector<std::byte> scratch;
      absl::Status status;
      while (status.ok()) status = decoder->DecodeNextLayer(next, scratch);
      EXPECT_EQ(status.code(), cut ? absl::StatusCode::kOutOfRange : absl::StatusCode::kDataLoss);
      EXPECT_EQ((*state)->LayerReady(0), damaged >= layer_bytes);
      EXPECT_FALSE((*state)->LayerReady(1));
    }
  }
}

TEST_F(Codec, ValuesMustBeFinite) {
  for (const auto& [dtype, bad_values] :
       {std::pair<DType, std::vector<std::string>>{
            DType::kF32, {{"\0\0\xc0\x7f", 4}, {"\0\0\x80\x7f", 4}, {"\1\0\x80\xff", 4}}},
        {DType::kBF16, {{"\xc0\x7f", 2}, {"\x80\x7f", 2}, {"\x81\xff", 2}}},
        {DType::kI8, {{"\x80", 1}}}}) {
    const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[0], dtype), 64, 64);
    const std::string good = Numbers(layout->TotalBytes());
    std::unique_ptr<kernels::State> state;
    ASSERT_TRUE(Decode(*layout, good, &state).ok());
    // The first element, one among the first block's values, the last layer's last before scales.
    const size_t scales = dtype == DType::kI8 ? 64 * 2 * 4 : 0;
    for (const std::string& value : bad_values) {
      for (const size_t at : {size_t{0}, good.size() / 4, good.size() - scales - value.size()}) {
        std::string bad = good;
        bad.replace(at, value.size(), value);
        EXPECT_EQ(Decode(*layout, bad, &state).code(), absl::StatusCode::kDataLoss)
            << kernels::NameOf(dtype) << " at " << at;
      }
    }
  }
}

TEST_F(Codec, ScalesMustBeThoseOfTheRule) {
  const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[0], DType::kI8), 64, 64);
  const std::string good = Numbers(layout->TotalBytes());
  const size_t elements = 64 * 2 * 6, scales = 64 * 2 * 4;  // of keys, or of values
  std::unique_ptr<kernels::State> state;
  for (const auto& [scale, right] : {std::pair{0.0f, true},
                                     {1e-40f, true},
                                     {0x1.fffffep120f, true},
                                     {0x1p121f, false},
                                     {-0.0f, false},
                                     {-1.0f, false},
                                     {std::numeric_limits<float>::quiet_NaN(), false},
                                     {std::numeric_limits<float>::infinity(), false}}) {
    for (const size_t at :
         {elements, elements + scales - 4, 2 * elements + scales, good.size() - 4}) {
      std::string bytes = good;
      std::memcpy(bytes.data() + at, &scale, sizeof(scale));
      EXPECT_EQ(Decode(*layout, bytes, &state).code(),
                right ? absl::StatusCode::kOk : absl::StatusCode::kDataLoss)
          << scale << " at " << at;
      if (right) EXPECT_TRUE(Encode(*layout, *state) == bytes);
    }
  }
}

TEST_F(Codec, StateAndLayoutMustFit) {
  const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[1]), 100, 20);
  const auto longer = SnapshotLayout::For(ShapeOf(kPolicies[1]), 101, 20);
  const auto other = SnapshotLayout::For(ShapeOf(kPolicies[0]), 100, 20);
  std::unique_ptr<kernels::State> state;
  ASSERT_TRUE(Decode(*layout, Numbers(layout->TotalBytes()), &state).ok());
  const auto ignore = [](absl::Span<const std::byte>) { return absl::OkStatus(); };
  const auto zeros = [](absl::Span<std::byte> out) {
    std::memset(out.data(), 0, out.size());
    return absl::OkStatus();
  };
  EXPECT_FALSE(EncodeTail(backend_, *state, *longer, ignore).ok());
  EXPECT_FALSE(EncodeTail(backend_, *state, *other, ignore).ok());
  EXPECT_FALSE(EncodeSegment(backend_, *state, *layout, -1, ignore).ok());
  EXPECT_FALSE(EncodeSegment(backend_, *state, *layout, layout->segments(), ignore).ok());
  EXPECT_FALSE(DecodeSegment(backend_, *layout, layout->segments(), zeros, *state).ok());
  EXPECT_FALSE(SegmentDecoder::Create(backend_, *layout, layout->segments() + 1, *state).ok());
  EXPECT_FALSE(SegmentDecoder::Create(backend_, *layout, -1, *state).ok());
  EXPECT_FALSE(SegmentDecoder::Create(backend_, *longer, 0, *state).ok());
  EXPECT_FALSE(PrepareRestore(backend_, *layout, *state).ok());  // not empty
  auto empty = backend_.NewState(ShapeOf(kPolicies[1]));
  EXPECT_FALSE(DecodeTail(backend_, *layout, zeros, **empty).ok());  // not prepared
  // A checkpoint's segments may come from a state that has gone on.
  const auto early = SnapshotLayout::For(ShapeOf(kPolicies[1]), 60, 20);
  EXPECT_TRUE(EncodeSegment(backend_, *state, *early, 2, ignore).ok());
  // The sink's error is the caller's.
  const auto full = [](absl::Span<const std::byte>) {
    return absl::ResourceExhaustedError("disk full");
  };
  EXPECT_EQ(EncodeTail(backend_, *state, *layout, full).code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(Codec, MemoryIsTakenBeforeReading) {
  kernels::ReferenceBackend small(1000);
  const auto layout = SnapshotLayout::For(ShapeOf(kPolicies[0]), 1000);
  auto state = small.NewState(ShapeOf(kPolicies[0]));
  EXPECT_EQ(PrepareRestore(small, *layout, **state).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ((*state)->tokens(), 0);
}

}  // namespace
}  // namespace longleaf::model
