// The disk cap: checked before writing, recounted at open, and who goes when it is reached.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {
namespace {

class CapacityTest : public StoreTest {
 protected:
  // Room for about four snapshots of 100 KB each.
  CapacityTest() { options_.disk_cap_bytes = 500'000; }

  static std::vector<int32_t> Tokens(int32_t number) { return SomeTokens(100, number); }
  absl::Status Add(int32_t number) { return Commit(Tokens(number), 99'000, 1000).status(); }
  bool Has(int32_t number) { return store_->ContainsSnapshot(KeyOf(Tokens(number))); }
  void Ask(int32_t number) { EXPECT_TRUE(store_->FindSnapshot(KeyOf(Tokens(number))).ok()); }
  int64_t Used() {
    const StoreStats stats = store_->Stats();
    return stats.text_bytes + stats.token_bytes + stats.snapshot_bytes;
  }
};

TEST_F(CapacityTest, TheLeastRecentlyAskedGoesFirst) {
  for (int32_t i = 0; i < 4; ++i) ASSERT_OK(Add(i));
  EXPECT_EQ(store_->Stats().snapshots, 4);
  Ask(0);
  Ask(2);
  ASSERT_OK(Add(4));
  EXPECT_FALSE(Has(1));
  EXPECT_TRUE(Has(0) && Has(2) && Has(3) && Has(4));
  Reopen();  // the order survives
  ASSERT_OK(Add(5));
  EXPECT_FALSE(Has(3));
  ASSERT_OK(Add(6));
  EXPECT_FALSE(Has(0));
  EXPECT_TRUE(Has(2) && Has(4) && Has(5) && Has(6));
  EXPECT_LE(Used(), options_.disk_cap_bytes);
  EXPECT_EQ(store_->Stats().drops.at(DropReason::kCapacity), 2);
  EXPECT_EQ(store_->Stats().capacity_bytes, options_.disk_cap_bytes);
}

TEST_F(CapacityTest, PinnedOnesStay) {
  for (int32_t i = 0; i < 4; ++i) ASSERT_OK(Add(i));
  const SnapshotPtr oldest = *store_->FindSnapshot(KeyOf(Tokens(0)));
  for (int32_t i = 1; i < 4; ++i) Ask(i);  // the pinned one is the least recently asked
  ASSERT_OK(Add(4));
  EXPECT_TRUE(Has(0));
  EXPECT_FALSE(Has(1));
  EXPECT_EQ(*ReadAll(*oldest, 0), SomeText(99'000, 1));
}

TEST_F(CapacityTest, NothingIsEvictedInVain) {
  for (int32_t i = 0; i < 4; ++i) ASSERT_OK(Add(i));
  EXPECT_CODE(store_->NewSegment({"t", SegmentKind::kCore, 0, 1, 600'000}), kResourceExhausted);
  EXPECT_CODE(store_->NewSegment({"t", SegmentKind::kCore, 0, 1, int64_t{1} << 60}),
              kResourceExhausted);
  EXPECT_EQ(store_->Stats().snapshots, 4);
  const std::vector<SnapshotPtr> pins = {*store_->FindSnapshot(KeyOf(Tokens(0))),
                                         *store_->FindSnapshot(KeyOf(Tokens(1))),
                                         *store_->FindSnapshot(KeyOf(Tokens(2)))};
  EXPECT_CODE(store_->NewSegment({"t", SegmentKind::kCore, 0, 1, 250'000}), kResourceExhausted);
  EXPECT_EQ(store_->Stats().snapshots, 4);
  EXPECT_EQ(store_->Stats().refused_writes, 3);
  EXPECT_TRUE(store_->NewSegment({"t", SegmentKind::kCore, 0, 1, 150'000}).ok());
  EXPECT_EQ(store_->Stats().snapshots, 3);
}

TEST_F(CapacityTest, TextIsNeverEvictedAndComesBeforeSnapshots) {
  for (int32_t i = 0; i < 4; ++i) ASSERT_OK(Add(i));
  Create("a");
  ASSERT_OK(AppendText("a", 0, SomeText(400'000)));
  EXPECT_EQ(store_->Stats().snapshots, 0);
  EXPECT_CODE(AppendText("a", 400'000, SomeText(100'001)), kResourceExhausted);
  EXPECT_EQ(store_->GetDocument("t", "a")->text_bytes, 400'000);
  EXPECT_CODE(Add(9), kResourceExhausted);
  EXPECT_EQ(store_->Stats().text_bytes, 400'000);
  Reopen();
  EXPECT_EQ(store_->Stats().text_bytes, 400'000);
  EXPECT_CODE(AppendText("a", 400'000, SomeText(100'001)), kResourceExhausted);
  ASSERT_OK(AppendText("a", 400'000, SomeText(100'000)));
  ASSERT_OK(store_->DeleteDocument("t", "a"));
  EXPECT_EQ(Used(), 0);
  ASSERT_OK(Add(9));
}

TEST_F(CapacityTest, ASegmentThatGrowsBeyondItsPromiseAsksAgain) {
  auto writer = *store_->NewSegment({"t", SegmentKind::kCore, 0, 1, 10});
  const std::string piece = SomeText(50'000);
  absl::Status status;
  int64_t written = 0;
  while (status.ok() && written < 1'000'000) {
    status = writer->Append(
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(piece.data()), piece.size()));
    written += 50'000;
    EXPECT_LE(Used(), options_.disk_cap_bytes);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_CODE(writer->Finish(), kResourceExhausted);
  writer.reset();
  EXPECT_EQ(Used(), 0);
}

TEST_F(CapacityTest, WhatASegmentTakesIsWhatItsFileTakes) {
  ASSERT_OK(Add(0));
  store_->WaitForReclaim();
  int64_t on_disk = 0;
  for (const auto& file : std::filesystem::directory_iterator(options_.path)) {
    if (file.path().extension() == ".sst") on_disk += static_cast<int64_t>(file.file_size());
  }
  // Other families have written no file yet.
  EXPECT_EQ(store_->Stats().snapshot_bytes, on_disk);
}

TEST_F(CapacityTest, SharedSegmentsAreNotCountedAsFreed) {
  options_.disk_cap_bytes = 300'000;
  Reopen();
  const std::vector<int32_t> tokens = SomeTokens(200);
  const std::vector<int32_t> half(tokens.begin(), tokens.begin() + 100);
  {
    const SnapshotPtr first = *Commit(half, 100'000, 1000);
    CommitSpec spec;
    spec.key = KeyOf(tokens);
    spec.segments = {first->cores()[0],
                     *WriteSegment(SegmentKind::kCore, 100, 200, SomeText(90'000, 3)),
                     *WriteSegment(SegmentKind::kTail, 100, 200, SomeText(1000, 4))};
    ASSERT_TRUE(store_->CommitSnapshot(spec).ok());
  }
  // Needs more than the first alone would free, so both go.
  ASSERT_OK(Add(1));
  EXPECT_FALSE(store_->ContainsSnapshot(KeyOf(half)));
  EXPECT_FALSE(store_->ContainsSnapshot(KeyOf(tokens)));
  EXPECT_TRUE(Has(1));
}

TEST_F(CapacityTest, ASmallerCapAtTheNextStartIsReachedByEvicting) {
  for (int32_t i = 0; i < 4; ++i) ASSERT_OK(Add(i));
  options_.disk_cap_bytes = 250'000;
  Reopen();
  ASSERT_OK(Add(5));
  EXPECT_LE(Used(), options_.disk_cap_bytes);
  EXPECT_TRUE(Has(3) && Has(5));
  EXPECT_EQ(store_->Stats().snapshots, 2);
}

}  // namespace
}  // namespace longleaf::store
