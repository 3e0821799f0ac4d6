// The tables that a step sends to the device.
#include "kernels/cuda/step_tables.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "gtest/gtest.h"
#include "tests/gpu/emulator/emulator.h"
#include "tests/gpu/state_fixture.h"

namespace longleaf::kernels::cuda {
namespace {

class StepTablesTest : public DeviceStateTest {
 protected:
  // A state that holds `tokens` tokens of anything.
  std::unique_ptr<CudaState> Holding(int64_t tokens) {
    auto state = NewState(shape_);
    if (tokens > 0) {
      EXPECT_TRUE(state->Grow(tokens));
      state->Commit();
      transfer_->StepCommitted();
    }
    return state;
  }
  template <typename T>
  std::vector<T> OnDevice(const T* at, int64_t count) {
    const std::vector<std::byte> bytes =
        BytesAt(reinterpret_cast<const std::byte*>(at), count * int64_t{sizeof(T)});
    std::vector<T> values(static_cast<size_t>(count));
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(values.data()));
    return values;
  }
  // What the device and the host are told is what the states have.
  void ExpectTables(const StepTables& tables, Batch batch) {
    const StepView view = tables.view();
    ASSERT_EQ(view.item_count, std::ssize(batch));
    const std::vector<StepItem> items = OnDevice(view.items, view.item_count);
    const std::vector<int32_t> row_items = OnDevice(view.row_items, view.rows);
    int32_t row = 0;
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto& state = static_cast<const CudaState&>(*batch[i].state);
      const HostStepItem& host = tables.items()[i];
      EXPECT_EQ(items[i].first_token, state.tokens());
      EXPECT_EQ(items[i].first_row, row);
      EXPECT_EQ(items[i].rows, batch[i].rows);
      EXPECT_EQ(host.first_token, state.tokens());
      EXPECT_EQ(host.first_row, row);
      EXPECT_EQ(host.rows, batch[i].rows);
      for (int64_t r = 0; r < batch[i].rows; ++r) {
        EXPECT_EQ(row_items[static_cast<size_t>(row++)], static_cast<int32_t>(i));
      }
      for (StatePart part : kBothParts) {
        const bool core = part == StatePart::kCore;
        const int64_t first = state.first_page(part), count = state.page_count(part) - first;
        const std::vector<std::byte*> pages =
            OnDevice((core ? items[i].core_pages : items[i].raw_pages) + first, count);
        for (int64_t p = 0; p < count; ++p) {
          std::byte* const expected = state.page(part, first + p)->data;
          EXPECT_EQ(pages[static_cast<size_t>(p)], expected);
          EXPECT_EQ(core ? host.core_page(first + p) : host.raw_page(first + p), expected);
        }
        EXPECT_EQ(core ? host.core_page(first + count) : host.raw_page(first + count), nullptr);
        EXPECT_EQ(core ? host.core_page(first - 1) : host.raw_page(first - 1), nullptr);
      }
    }
    EXPECT_EQ(view.rows, row);
  }

  const StateShape shape_ = ShapeOf(2, 1, 4, "cca:g=2,w=8");
};

TEST_F(StepTablesTest, TellsWhatTheStatesHave) {
  std::vector<std::unique_ptr<CudaState>> states;
  std::vector<BatchItem> batch;
  for (const auto& [tokens, rows] : {std::pair{0, 1}, {200, 70}, {63, 1}, {64, 2}, {500, 3}}) {
    states.push_back(Holding(tokens));
    batch.push_back({states.back().get(), rows, 1});
  }
  states.push_back(NewState(shape_));  // shares the page that it goes on in
  states.back()->ShareAll(*states[1]);
  batch.push_back({states.back().get(), 1, 1});
  for (const BatchItem& item : batch) {
    ASSERT_TRUE(static_cast<CudaState*>(item.state)->Grow(item.rows));
  }
  EXPECT_GT(states[4]->first_page(StatePart::kRaw), 0);
  StepTables tables;
  EXPECT_FALSE(tables.Holds(batch));
  ASSERT_TRUE(tables.Begin(batch, stream_.get()).ok());
  ExpectTables(tables, batch);
  EXPECT_EQ(tables.items()[5].raw_page(2), tables.items()[1].raw_page(2));
  EXPECT_NE(tables.items()[5].raw_page(3), tables.items()[1].raw_page(3));
  EXPECT_TRUE(tables.Holds(batch));
  batch[1].rows = 69;
  EXPECT_FALSE(tables.Holds(batch));
  batch.pop_back();
  EXPECT_FALSE(tables.Holds(batch));
}

// The device reads late: what it reads is the step's all the same. And graphs want one address.
TEST_F(StepTablesTest, StepsFollowOneAnotherWithoutWaiting) {
  auto state = Holding(0);
  StepTables tables;
  auto pinned = PinnedMemory::Allocate(100 * int64_t{sizeof(StepItem)}).value();
  StepItem* const seen = pinned.as<StepItem>();
  const StepItem* address = nullptr;
  for (int64_t step = 0; step < 100; ++step) {
    ASSERT_TRUE(state->Grow(1));
    const BatchItem item = {state.get(), 1, 1};
    ASSERT_TRUE(tables.Begin({&item, 1}, stream_.get()).ok());
    if (step == 0) address = tables.view().items;
    EXPECT_EQ(tables.view().items, address);
    ASSERT_TRUE(
        Copy(seen + step, tables.view().items, int64_t{sizeof(StepItem)}, stream_.get()).ok());
    state->Commit();
    transfer_->StepCommitted();
  }
  EXPECT_EQ(tables.generation(), 1);
  ASSERT_TRUE(stream_.Synchronize().ok());
  for (int64_t step = 0; step < 100; ++step) EXPECT_EQ(seen[step].first_token, step);
}

TEST_F(StepTablesTest, GrowsAndSaysSo) {
  auto state = Holding(0);
  StepTables tables;
  int64_t generation = 0;
  for (int64_t rows : {1, 30000, 29000, 120000}) {
    ASSERT_TRUE(state->Grow(rows));
    const BatchItem item = {state.get(), rows, 1};
    ASSERT_TRUE(tables.Begin({&item, 1}, stream_.get()).ok());
    EXPECT_EQ(tables.generation(), generation += rows == 29000 ? 0 : 1);
    ExpectTables(tables, {&item, 1});
    state->Abort();
  }
  // Without memory for more, what was there is still there.
  ASSERT_TRUE(state->Grow(500000));
  const BatchItem item = {state.get(), 500000, 1};
  const StepItem* items = tables.view().items;
  emulator::SetDeviceMemory(emulator::DeviceMemoryInUse());
  EXPECT_EQ(tables.Begin({&item, 1}, stream_.get()).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(tables.Holds({&item, 1}));
  emulator::SetDeviceMemory(int64_t{4} << 30);
  EXPECT_EQ(tables.view().items, items);
  EXPECT_EQ(tables.generation(), generation);
  EXPECT_TRUE(tables.Begin({&item, 1}, stream_.get()).ok());
}

}  // namespace
}  // namespace longleaf::kernels::cuda
