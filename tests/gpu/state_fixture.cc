#include "tests/gpu/state_fixture.h"

#include <algorithm>

#include "kernels/checks.h"

namespace longleaf::kernels::cuda {
namespace {

int64_t HeadsOf(const StateShape& shape, StatePart part) {
  return part == StatePart::kCore ? shape.core_heads() : shape.kv_heads;
}

std::vector<Content> EmptyContentsOf(const State& state) {
  const StateShape& shape = state.shape();
  std::vector<Content> contents;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (StatePart part : kBothParts) {
      const bool core = part == StatePart::kCore;
      const int64_t first = core ? 0 : state.first_raw();
      const int64_t count = core ? state.cores() : state.tokens() - first;
      contents.push_back({layer, part, first, count, {}});
      contents.back().bytes.resize(
          static_cast<size_t>(2 * count * HeadsOf(shape, part) * shape.row_bytes()));
    }
  }
  return contents;
}

}  // namespace

std::vector<Content> ContentsOf(Backend& backend, const State& state) {
  std::vector<Content> contents = EmptyContentsOf(state);
  for (Content& c : contents) {
    const absl::Status status =
        backend.Export(state, c.layer, c.part, c.first, c.count, absl::MakeSpan(c.bytes));
    EXPECT_TRUE(status.ok()) << status;
  }
  return contents;
}

std::vector<std::byte> Cut(const Content& content, const StateShape& shape, int64_t first,
                           int64_t count) {
  std::vector<std::byte> cut;
  const int64_t heads = HeadsOf(shape, content.part);
  const int64_t elements = heads * shape.head_dim * SizeOf(shape.dtype);
  const int64_t scales = heads * shape.row_bytes() - elements;
  const std::byte* array = content.bytes.data();
  for (const int64_t token_bytes : {elements, scales, elements, scales}) {
    const std::byte* from = array + (first - content.first) * token_bytes;
    cut.insert(cut.end(), from, from + count * token_bytes);
    array += content.count * token_bytes;
  }
  return cut;
}

std::vector<Content> DeviceStateTest::Read(const StateShape& shape, int64_t tokens) {
  auto reference = Make(Kind::kReference);
  auto state = reference->NewState(shape).value();
  Feed(*reference, *state, Sequence(shape, tokens, 11), tokens, tokens);
  return ContentsOf(*reference, *state);
}

std::unique_ptr<CudaState> DeviceStateTest::Filled(const StateShape& shape, int64_t tokens,
                                                   const std::vector<Content>& contents) {
  auto state = NewState(shape);
  EXPECT_TRUE(state->PrepareImport(tokens, shape.policy.FirstRaw(tokens)));
  for (const Content& content : contents) EXPECT_TRUE(Import(*state, content).ok());
  return state;
}

absl::Status DeviceStateTest::Import(CudaState& state, const Content& c) {
  const auto bytes = static_cast<int64_t>(c.bytes.size());
  EXPECT_TRUE(state.import()->Claim(c.layer, bytes));
  absl::Status status = transfer_->Import(state, c.layer, c.part, c.first, c.count, c.bytes);
  if (status.ok()) state.import()->Written(c.layer, bytes);
  return status;
}

std::vector<std::byte> DeviceStateTest::Export(const CudaState& state, int64_t layer,
                                               StatePart part, int64_t first, int64_t count) {
  std::vector<std::byte> bytes(
      static_cast<size_t>(2 * count * HeadsOf(state.shape(), part) * state.shape().row_bytes()));
  const absl::Status status =
      transfer_->Export(state, layer, part, first, count, absl::MakeSpan(bytes));
  EXPECT_TRUE(status.ok()) << status;
  return bytes;
}

std::vector<Content> DeviceStateTest::Exported(const CudaState& state) {
  std::vector<Content> contents = EmptyContentsOf(state);
  for (Content& c : contents) c.bytes = Export(state, c.layer, c.part, c.first, c.count);
  return contents;
}

std::vector<std::byte> DeviceStateTest::BytesAt(const std::byte* device, int64_t bytes) {
  std::vector<std::byte> copy(static_cast<size_t>(bytes));
  EXPECT_TRUE(Copy(copy.data(), device, bytes, stream_.get()).ok());
  EXPECT_TRUE(stream_.Synchronize().ok());
  return copy;
}

void ExpectEqual(const std::vector<Content>& actual, const std::vector<Content>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(actual[i].first, expected[i].first);
    EXPECT_EQ(actual[i].count, expected[i].count);
    EXPECT_TRUE(actual[i].bytes == expected[i].bytes)
        << "layer " << expected[i].layer << ", part " << i % 2;
  }
}

}  // namespace longleaf::kernels::cuda
