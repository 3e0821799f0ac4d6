// Canonical bytes from and to pages of the device: every type and alignment, ranges of many chunks,
// many callers, and who waits for what.
#include "kernels/cuda/transfer.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "tests/gpu/state_fixture.h"

namespace longleaf::kernels::cuda {
namespace {

class DeviceTransferTest : public DeviceStateTest {};

TEST_F(DeviceTransferTest, WhatComesInGoesOut) {
  for (const StateShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    const std::vector<Content> contents = Read(shape, 131);
    auto state = Filled(shape, 131, contents);
    EXPECT_TRUE(state->LayerReady(0) && state->LayerReady(1));
    ExpectEqual(Exported(*state), contents);
  }
  EXPECT_EQ(pool_.used_bytes(), 0);
  EXPECT_TRUE(pool_.status().ok());
}

TEST_F(DeviceTransferTest, AnyRangeInAnyOrder) {
  for (const StateShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    const std::vector<Content> contents = Read(shape, 131);
    auto state = NewState(shape);
    ASSERT_TRUE(state->PrepareImport(131, shape.policy.FirstRaw(131)));
    for (const Content& c : contents) {
      for (int64_t most : {50}) {
        for (int64_t end = c.first + c.count; end > c.first; end -= most) {
          const int64_t first = std::max(c.first, end - most);
          const Content piece = {c.layer, c.part, first, end - first,
                                 Cut(c, shape, first, end - first)};
          EXPECT_TRUE(Import(*state, piece).ok());
        }
      }
    }
    ExpectEqual(Exported(*state), contents);
    for (const Content& c : contents) {
      for (int64_t skip : {0, 1, 63}) {
        const int64_t count = std::min<int64_t>(c.count - skip, 66);
        if (count <= 0) continue;
        EXPECT_TRUE(Export(*state, c.layer, c.part, c.first + skip, count) ==
                    Cut(c, shape, c.first + skip, count));
      }
    }
  }
}

// Where the page layout says it is.
TEST_F(DeviceTransferTest, ARowLiesInItsSlot) {
  for (const StateShape& shape : Shapes()) {
    SCOPED_TRACE(Describe(shape));
    const std::vector<Content> contents = Read(shape, 131);
    auto state = Filled(shape, 131, contents);
    for (const Content& c : contents) {
      const DevicePageLayout layout = state->layout(c.part);
      for (int64_t token = c.first; token < c.first + c.count; token += 13) {
        const std::byte* page = state->page(c.part, token / kPageTokens)->data;
        const int64_t slot = token % kPageTokens;
        std::vector<std::byte> keys, values;
        std::vector<std::byte> key_scales, value_scales;
        for (int64_t h = 0; h < layout.heads; ++h) {
          const auto add = [&](std::vector<std::byte>& to, int64_t at, int64_t bytes) {
            const std::vector<std::byte> row = BytesAt(page + at + slot * bytes, bytes);
            to.insert(to.end(), row.begin(), row.end());
          };
          add(keys, layout.keys(c.layer, h), layout.row_bytes());
          add(values, layout.values(c.layer, h), layout.row_bytes());
          if (!layout.scaled()) continue;
          add(key_scales, layout.key_scales(c.layer, h), 4);
          add(value_scales, layout.value_scales(c.layer, h), 4);
        }
        std::vector<std::byte> all;
        for (const auto* part : {&keys, &key_scales, &values, &value_scales}) {
          all.insert(all.end(), part->begin(), part->end());
        }
        EXPECT_TRUE(all == Cut(c, shape, token, 1)) << "token " << token;
      }
    }
  }
}

// Random bytes for every layer and part of a state.
std::vector<Content> RandomContents(const StateShape& shape, int64_t tokens) {
  std::vector<Content> contents;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (StatePart part : kBothParts) {
      const bool core = part == StatePart::kCore;
      const int64_t first = core ? 0 : shape.policy.FirstRaw(tokens);
      const int64_t count = core ? shape.policy.CoresAfter(tokens) : tokens - first;
      const int64_t heads = core ? shape.core_heads() : shape.kv_heads;
      Content content = {layer, part, first, count, {}};
      content.bytes.resize(static_cast<size_t>(2 * count * heads * shape.row_bytes()));
      uint32_t x = static_cast<uint32_t>(1 + 2 * layer + (core ? 1 : 0));
      for (std::byte& b : content.bytes) {
        x = x * 1664525 + 1013904223;
        b = static_cast<std::byte>(x >> 24);
      }
      contents.push_back(std::move(content));
    }
  }
  return contents;
}

// Ranges longer than a chunk is, in bytes and in pages, and a token that is longer.
TEST_F(DeviceTransferTest, RangesOfManyChunks) {
  StateShape wide = ShapeOf(520, 520, 128, "full");
  wide.layers = 1;
  for (const auto& [shape, tokens] :
       {std::pair{ShapeOf(8, 8, 128, "full"), int64_t{300}},
        std::pair{ShapeOf(1, 1, 2, "full", DType::kI8), int64_t{4500}},
        std::pair{wide, int64_t{3}}}) {
    SCOPED_TRACE(Describe(shape));
    const std::vector<Content> contents = RandomContents(shape, tokens);
    auto state = Filled(shape, tokens, contents);
    ExpectEqual(Exported(*state), contents);
    const Content& raw = contents.back();
    EXPECT_TRUE(Export(*state, raw.layer, raw.part, 1, tokens - 2) ==
                Cut(raw, shape, 1, tokens - 2));
  }
}

// More threads than there are lanes, importing and exporting.
TEST_F(DeviceTransferTest, ManyCallersAtOnce) {
  const StateShape shape = ShapeOf(4, 2, 16, "cca:g=4,w=8", DType::kI8);
  const std::vector<Content> contents = Read(shape, 131);
  auto source = Filled(shape, 131, contents);
  constexpr size_t kThreads = 12;
  std::vector<std::unique_ptr<CudaState>> states;
  for (size_t i = 0; i < kThreads; ++i) {
    states.push_back(NewState(shape));
    ASSERT_TRUE(states.back()->PrepareImport(131, shape.policy.FirstRaw(131)));
  }
  std::vector<std::thread> threads;
  for (size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      for (const Content& content : Exported(*source)) {
        EXPECT_TRUE(Import(*states[i], content).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& state : states) ExpectEqual(Exported(*state), contents);
}

// Pages that were given back while the main stream still works on them.
TEST_F(DeviceTransferTest, AnImportComesBehindWhatUsedItsPages) {
  const StateShape shape = ShapeOf(2, 1, 16, "full");
  const std::vector<Content> contents = Read(shape, 70);
  auto before = NewState(shape);
  ASSERT_TRUE(before->Grow(70));
  for (int64_t p = 0; p < 2; ++p) {
    const DevicePage* page = before->page(StatePart::kRaw, p);
    ASSERT_EQ(cudaMemsetAsync(page->data, 3, static_cast<size_t>(page->bytes), stream_.get()),
              cudaSuccess);
  }
  before.reset();
  auto state = Filled(shape, 70, contents);
  ASSERT_TRUE(stream_.Synchronize().ok());
  ExpectEqual(Exported(*state), contents);
}

// What a step has put into the main stream before its Commit is in what is exported after it.
TEST_F(DeviceTransferTest, AnExportComesBehindTheCommittedStep) {
  const StateShape shape = ShapeOf(2, 1, 16, "full");
  auto state = NewState(shape);
  ASSERT_TRUE(state->Grow(10));
  const DevicePage* page = state->page(StatePart::kRaw, 0);
  ASSERT_EQ(cudaMemsetAsync(page->data, 3, static_cast<size_t>(page->bytes), stream_.get()),
            cudaSuccess);
  state->Commit();
  transfer_->StepCommitted();
  auto branch = NewState(shape);
  branch->ShareAll(*state);
  for (const CudaState* s : {state.get(), branch.get()}) {
    const std::vector<std::byte> bytes = Export(*s, 1, StatePart::kRaw, 0, 10);
    EXPECT_EQ(std::count(bytes.begin(), bytes.end(), std::byte{3}), std::ssize(bytes));
  }
}

// The emulated device does nothing before somebody waits for it.
TEST_F(DeviceTransferTest, AnExportDoesNotWaitForStepsSince) {
  const StateShape shape = ShapeOf(2, 1, 16, "full");
  const std::vector<Content> contents = Read(shape, 70);
  auto state = Filled(shape, 70, contents);
  auto from = DeviceMemory::Allocate(1).value();
  auto to = PinnedMemory::Allocate(1).value();
  *to.data() = std::byte{5};
  ASSERT_EQ(cudaMemsetAsync(from.data(), 3, 1, stream_.get()), cudaSuccess);
  ASSERT_TRUE(Copy(to.data(), from.data(), 1, stream_.get()).ok());
  transfer_->StepCommitted();
  ExpectEqual(Exported(*state), contents);
  EXPECT_EQ(*to.data(), std::byte{5});
  ASSERT_TRUE(stream_.Synchronize().ok());
  EXPECT_EQ(*to.data(), std::byte{3});
}

TEST_F(DeviceTransferTest, ACommitWithoutItsPointIsAnError) {
  const StateShape shape = ShapeOf(2, 1, 16, "full");
  auto state = NewState(shape);
  ASSERT_TRUE(state->Grow(1));
  state->Commit();
  std::vector<std::byte> bytes(2 * 16 * 4);
  EXPECT_EQ(transfer_->Export(*state, 0, StatePart::kRaw, 0, 1, absl::MakeSpan(bytes)).code(),
            absl::StatusCode::kInternal);
  transfer_->StepCommitted();
  EXPECT_TRUE(transfer_->Export(*state, 0, StatePart::kRaw, 0, 1, absl::MakeSpan(bytes)).ok());
}

// A state that has not been written to for many steps.
TEST_F(DeviceTransferTest, OldPointsAreNotForgotten) {
  const StateShape shape = ShapeOf(2, 1, 16, "cca:g=4,w=8");
  const std::vector<Content> contents = Read(shape, 70);
  auto state = Filled(shape, 70, contents);
  for (int i = 0; i < 100; ++i) {
    transfer_->StepCommitted();
    if (i % 9 == 0) ExpectEqual(Exported(*state), contents);
  }
}

}  // namespace
}  // namespace longleaf::kernels::cuda
