// States in device pages: what the tests of all backends cannot see. Pages shared and copied layer
// by layer, the pool under pressure, and what the device gives when it fails.
#include <algorithm>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/cuda/cuda_state.h"
#include "kernels/cuda/page_pool.h"
#include "kernels/cuda/step.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/gpu/state_fixture.h"

namespace longleaf::kernels::cuda {
namespace {

class CudaStateTest : public DeviceStateTest {
 protected:
  // The part of a page that holds `layer`.
  std::vector<std::byte> Slice(const CudaState& state, StatePart part, int64_t layer,
                               const DevicePage* page) {
    const int64_t bytes = state.layout(part).layer_bytes();
    return BytesAt(page->data + layer * bytes, bytes);
  }
  static bool IsPoison(const std::vector<std::byte>& bytes) {
    return std::count(bytes.begin(), bytes.end(), std::byte{0xff}) == std::ssize(bytes);
  }

  // Both its parts end inside a page after 70 tokens.
  const StateShape shape_ = ShapeOf(4, 2, 16, "cca:g=4,w=8,heads=query");
  const std::vector<Content> contents_ = Read(shape_, 70);
};

TEST_F(CudaStateTest, AStepCopiesTheSharedPagesItWritesTo) {
  auto parent = Filled(shape_, 70, contents_);
  auto branch = NewState(shape_);
  branch->ShareAll(*parent);
  const int64_t used = pool_.used_bytes();
  const int64_t grow =
      branch->layout(StatePart::kCore).bytes() + branch->layout(StatePart::kRaw).bytes();
  EXPECT_EQ(branch->BytesToGrow(4), grow);
  EXPECT_EQ(branch->BytesToGrow(1), branch->layout(StatePart::kRaw).bytes());
  ASSERT_TRUE(branch->Grow(4));
  EXPECT_EQ(pool_.used_bytes(), used + grow);
  for (StatePart part : kBothParts) {
    const int64_t last = branch->page_count(part) - 1;
    const DevicePage* shared = parent->page(part, last);
    EXPECT_NE(branch->page(part, last), shared);
    EXPECT_EQ(branch->committed_page(part, last), shared);
    EXPECT_TRUE(IsPoison(Slice(*branch, part, 0, branch->page(part, last))));
  }
  ASSERT_TRUE(branch->CopySharedPages(0, stream_.get()).ok());
  for (StatePart part : kBothParts) {
    const int64_t last = branch->page_count(part) - 1;
    for (int64_t layer = 0; layer < 2; ++layer) {
      EXPECT_EQ(Slice(*branch, part, layer, branch->page(part, last)),
                Slice(*parent, part, layer, parent->page(part, last)));
    }
  }
  branch->Commit();
  transfer_->StepCommitted();
  EXPECT_EQ(branch->tokens(), 74);
  EXPECT_EQ(pool_.used_bytes(), used + grow);
  EXPECT_EQ(parent->BytesToGrow(4), 0);
  ExpectEqual(Exported(*parent), contents_);
  for (const Content& c : contents_) {
    const int64_t first = std::max(c.first, c.part == StatePart::kCore ? 0 : branch->first_raw());
    const int64_t count = c.first + c.count - first;
    EXPECT_TRUE(Export(*branch, c.layer, c.part, first, count) == Cut(c, shape_, first, count));
  }
  branch.reset();
  EXPECT_EQ(pool_.used_bytes(), parent->bytes());
}

TEST_F(CudaStateTest, CommitCopiesTheLayersThatWereLeftOut) {
  auto parent = Filled(shape_, 70, contents_);
  auto branch = NewState(shape_);
  branch->ShareAll(*parent);
  ASSERT_TRUE(branch->Grow(1));
  branch->Commit();
  transfer_->StepCommitted();
  parent.reset();
  for (const Content& c : contents_) {
    const int64_t first = c.part == StatePart::kCore ? 0 : 64;  // of the page that was shared
    EXPECT_TRUE(Export(*branch, c.layer, c.part, first, c.first + c.count - first) ==
                Cut(c, shape_, first, c.first + c.count - first));
  }
}

TEST_F(CudaStateTest, AnAbortedStepGivesItsPagesBack) {
  auto parent = Filled(shape_, 70, contents_);
  auto branch = NewState(shape_);
  branch->ShareAll(*parent);
  const int64_t used = pool_.used_bytes();
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(branch->Grow(300));
    if (round == 1) {
      ASSERT_TRUE(branch->CopySharedPages(1, stream_.get()).ok());
    }
    branch->Abort();
    EXPECT_EQ(pool_.used_bytes(), used);
    EXPECT_EQ(branch->page_count(StatePart::kRaw), parent->page_count(StatePart::kRaw));
    ExpectEqual(Exported(*branch), contents_);
  }
  ASSERT_TRUE(branch->Grow(300));
  branch.reset();  // in a step
  EXPECT_EQ(pool_.used_bytes(), used);
}

// Only what has arrived is copied: the rest comes later.
TEST_F(CudaStateTest, SharedPagesAreCopiedAsAnImportBringsThem) {
  auto state = NewState(shape_);
  ASSERT_TRUE(state->PrepareImport(70, shape_.policy.FirstRaw(70)));
  auto branch = NewState(shape_);
  branch->ShareAll(*state);
  ASSERT_TRUE(branch->Grow(4));
  for (int64_t layer = 0; layer < 2; ++layer) {
    EXPECT_FALSE(branch->LayerReady(layer));
    for (const Content& c : contents_) {
      if (c.layer == layer) {
        EXPECT_TRUE(Import(*state, c).ok());
      }
    }
    EXPECT_TRUE(branch->LayerReady(layer));
    ASSERT_TRUE(branch->CopySharedPages(layer, stream_.get()).ok());
    for (StatePart part : kBothParts) {
      const DevicePage* page = branch->page(part, branch->page_count(part) - 1);
      EXPECT_FALSE(IsPoison(Slice(*branch, part, layer, page)));
      EXPECT_EQ(IsPoison(Slice(*branch, part, 1, page)), layer == 0);
    }
  }
  branch->Commit();
  transfer_->StepCommitted();
  ExpectEqual(Exported(*state), contents_);
  for (const Content& c : contents_) {
    if (c.part == StatePart::kCore) {
      EXPECT_TRUE(Export(*branch, c.layer, c.part, c.first, c.count) == c.bytes);
    }
  }
}

TEST_F(CudaStateTest, AFullPoolRefusesAndChangesNothing) {
  auto parent = Filled(shape_, 70, contents_);
  auto branch = NewState(shape_);
  branch->ShareAll(*parent);
  const int64_t used = pool_.used_bytes();
  pool_.SetCapacity(used + branch->BytesToGrow(300) - 1);
  EXPECT_FALSE(branch->Grow(300));
  EXPECT_EQ(branch->step_rows(), 0);
  EXPECT_EQ(pool_.used_bytes(), used);
  auto other = NewState(shape_);
  EXPECT_FALSE(other->PrepareImport(10000, 0));
  EXPECT_EQ(other->import(), nullptr);
  EXPECT_EQ(pool_.used_bytes(), used);
  ExpectEqual(Exported(*branch), contents_);
  EXPECT_LE(pool_.pool_bytes(), pool_.capacity_bytes());
  pool_.SetCapacity(used + branch->BytesToGrow(300));
  EXPECT_TRUE(branch->Grow(300));
  EXPECT_TRUE(pool_.status().ok());
}

// ---- DevicePagePool

class DevicePagePoolTest : public testing::Test {
 protected:
  ~DevicePagePoolTest() override { emulator::SetDeviceMemory(int64_t{4} << 30); }

  Stream stream_ = Stream::Create().value();
};

TEST_F(DevicePagePoolTest, KeepsFreePagesWithinItsLimit) {
  DevicePagePool pool(1000, false, stream_.get());
  DevicePage* a = pool.Take(400);
  DevicePage* b = pool.Take(400);
  EXPECT_EQ(pool.Take(400), nullptr);
  pool.Release(a);
  EXPECT_EQ(pool.used_bytes(), 400);
  EXPECT_EQ(pool.pool_bytes(), 800);
  EXPECT_EQ(pool.Take(400), a);
  DevicePagePool::Share(a);
  EXPECT_TRUE(DevicePagePool::IsShared(a));
  pool.Release(a);
  EXPECT_FALSE(DevicePagePool::IsShared(a));
  EXPECT_EQ(pool.used_bytes(), 800);
  pool.Release(a);
  DevicePage* c = pool.Take(500);  // takes the free one's room
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(pool.pool_bytes(), 900);
  pool.Release(b);
  pool.Release(c);
  pool.SetCapacity(600);
  EXPECT_LE(pool.pool_bytes(), 600);
  EXPECT_EQ(pool.used_bytes(), 0);
  EXPECT_FALSE(pool.Fits(601));
}

// Pages that do not fill 2 MiB pieces share an allocation, as long as there is room for it.
TEST_F(DevicePagePoolTest, PagesOfOddSizesShareAnAllocation) {
  constexpr int64_t kPage = (int64_t{4} << 20) + (128 << 10);  // 8 of them are 33 MiB
  DevicePagePool pool(10 * kPage, false, stream_.get());
  const int64_t calls = emulator::Calls();
  std::vector<DevicePage*> pages;
  for (int i = 0; i < 10; ++i) {
    pages.push_back(pool.Take(kPage));
    ASSERT_NE(pages.back(), nullptr);
    EXPECT_EQ(pool.used_bytes(), (i + 1) * kPage);
    EXPECT_EQ(pool.pool_bytes(), i < 8 ? 8 * kPage : (i + 1) * kPage);
  }
  EXPECT_EQ(emulator::Calls(), calls + 3);
  EXPECT_EQ(pool.Take(kPage), nullptr);
  for (size_t i = 1; i < 8; ++i) {
    EXPECT_EQ(pages[i]->data, pages[0]->data + static_cast<int64_t>(i) * kPage);
  }
  // A slab is given back when nobody has a page of it.
  for (size_t i = 0; i < 7; ++i) pool.Release(pages[i]);
  EXPECT_TRUE(pool.Fits(100));
  EXPECT_EQ(pool.Take(100), nullptr);
  pool.Release(pages[7]);
  DevicePage* const other = pool.Take(100);
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(pool.pool_bytes(), 2 * kPage + 100);
  for (DevicePage* page : {pages[8], pages[9], other}) pool.Release(page);
  EXPECT_EQ(pool.used_bytes(), 0);
}

TEST_F(DevicePagePoolTest, AFullDeviceIsNull) {
  DevicePagePool pool(int64_t{1} << 40, true, stream_.get());
  emulator::SetDeviceMemory(emulator::DeviceMemoryInUse() + 10000);
  DevicePage* a = pool.Take(4000);
  DevicePage* b = pool.Take(4000);
  ASSERT_TRUE(a != nullptr && b != nullptr);
  EXPECT_EQ(pool.Take(4000), nullptr);
  pool.Release(b);
  DevicePage* c = pool.Take(5000);  // b is given back to the device for it
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(pool.pool_bytes(), 9000);
  EXPECT_TRUE(pool.status().ok());
  pool.Release(a);
  pool.Release(c);
}

TEST_F(DevicePagePoolTest, KeepsTheErrorThatNobodyIsToldOf) {
  DevicePagePool pool(1 << 20, true, stream_.get());
  emulator::FailCall(1, cudaErrorIllegalAddress);
  EXPECT_EQ(pool.Take(4000), nullptr);
  EXPECT_EQ(pool.status().code(), absl::StatusCode::kInternal);

  DevicePagePool other(1 << 20, true, stream_.get());
  emulator::FailCall(1, cudaErrorIllegalAddress);  // making the event
  other.points().Mark();
  EXPECT_EQ(other.status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(other.points().Wait(1, stream_.get()).code(), absl::StatusCode::kInternal);
}

TEST_F(CudaStateTest, CommitKeepsTheErrorOfACopy) {
  auto parent = Filled(shape_, 70, contents_);
  auto branch = NewState(shape_);
  branch->ShareAll(*parent);
  ASSERT_TRUE(branch->Grow(1));
  emulator::FailCall(1, cudaErrorIllegalAddress);
  branch->Commit();
  EXPECT_EQ(branch->tokens(), 71);
  EXPECT_EQ(pool_.status().code(), absl::StatusCode::kInternal);
}

// Whichever call of a transfer fails, it says so, and the next one works.
TEST_F(CudaStateTest, ATransferSaysWhatFailed) {
  auto state = Filled(shape_, 70, contents_);
  const Content& raw = contents_.back();
  std::vector<std::byte> out(raw.bytes.size());
  const auto export_raw = [&] {
    return transfer_->Export(*state, raw.layer, raw.part, raw.first, raw.count,
                             absl::MakeSpan(out));
  };
  int64_t calls = emulator::Calls();
  ASSERT_TRUE(export_raw().ok());
  calls = emulator::Calls() - calls;
  ASSERT_GE(calls, 5);
  for (int64_t call = 1; call <= calls; ++call) {
    emulator::FailCall(call, cudaErrorIllegalAddress);
    EXPECT_EQ(export_raw().code(), absl::StatusCode::kInternal) << "call " << call;
    emulator::FailCall(0, cudaSuccess);
    EXPECT_TRUE(export_raw().ok());
    EXPECT_TRUE(out == raw.bytes);
  }
  // As many lanes as there is memory for are enough.
  emulator::SetDeviceMemory(emulator::DeviceMemoryInUse());
  EXPECT_TRUE(export_raw().ok());
  EXPECT_EQ(Transfer::Create(&pool_.points()).status().code(),
            absl::StatusCode::kResourceExhausted);
  emulator::SetDeviceMemory(int64_t{4} << 30);
}

TEST(StepShapeTest, IsTheStatesShape) {
  const StateShape shape = ShapeOf(8, 2, 32, "cca:g=4,w=8,heads=query", DType::kBF16);
  const StepShape step = StepShapeOf(shape);
  EXPECT_EQ(step.query_heads, 8);
  EXPECT_EQ(step.kv_heads, 2);
  EXPECT_EQ(step.core_heads, 8);
  EXPECT_EQ(step.head_dim, 32);
  EXPECT_EQ(step.policy, shape.policy);
  EXPECT_EQ(step.core.bytes(), 2 * 2 * 8 * 64 * 32 * 2);
  EXPECT_EQ(step.raw.bytes(), 2 * 2 * 2 * 64 * 32 * 2);
}

}  // namespace
}  // namespace longleaf::kernels::cuda
