// A disk that is full or fails, and the way back without a restart.
#include <gtest/gtest.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "tests/unit/cache_store/store_fixture.h"
#include "tests/unit/cache_store/troubled_disk.h"

namespace longleaf::store {
namespace {

class FullDiskTest : public StoreTest {
 protected:
  FullDiskTest() : state_(std::make_shared<DiskState>()) {
    file_system_ = std::make_shared<TroubledFileSystem>(state_);
    options_.min_free_bytes = 1'000'000;
  }

  // The store's own recovery runs behind; every write until then must fail as this one may.
  absl::Status Eventually(const std::function<absl::Status()>& write) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(4);
    absl::Status status = write();
    while (!status.ok() && std::chrono::steady_clock::now() < limit) {
      EXPECT_TRUE(absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) << status;
      std::this_thread::yield();
      status = write();
    }
    return status;
  }

  const std::shared_ptr<DiskState> state_;
};

TEST_F(FullDiskTest, TooLittleFreeSpaceIsSeenBeforeWriting) {
  Create("a");
  ASSERT_OK(AppendText("a", 0, "before"));
  state_->free_bytes = 1'000'003;
  EXPECT_CODE(AppendText("a", 6, "four"), kResourceExhausted);
  ASSERT_OK(AppendText("a", 6, "3by"));
  EXPECT_CODE(Commit(SomeTokens(10), 5000, 10), kResourceExhausted);
  state_->free_bytes = 10;
  EXPECT_CODE(store_->CreateDocument("t", Wanted("b"), {}), kResourceExhausted);
  EXPECT_EQ(*store_->ReadText("t", "a", 0, 100), "before3by");
  EXPECT_GE(store_->Stats().refused_writes, 2);
  state_->free_bytes = uint64_t{1} << 40;
  ASSERT_OK(AppendText("a", 9, "after"));
  ASSERT_TRUE(Commit(SomeTokens(10), 5000, 10).ok());
}

TEST_F(FullDiskTest, SnapshotsGoBeforeTextIsRefused) {
  Create("a");
  ASSERT_TRUE(Commit(SomeTokens(10), 50'000, 10).ok());
  state_->free_bytes = 1'000'000 + 10'000;
  // The wrapper's free space does not grow, so the write is refused in the end; the cache went
  // first.
  EXPECT_CODE(AppendText("a", 0, SomeText(20'000)), kResourceExhausted);
  EXPECT_EQ(store_->Stats().snapshots, 0);
}

TEST_F(FullDiskTest, WritesFailAndComeBackByThemselves) {
  for (const auto& [disk, code] : {std::pair{Disk::kFull, absl::StatusCode::kResourceExhausted},
                                   std::pair{Disk::kBroken, absl::StatusCode::kUnavailable}}) {
    const std::string id = disk == Disk::kFull ? "full" : "broken";
    Create(id);
    ASSERT_OK(AppendText(id, 0, "acknowledged "));
    ASSERT_TRUE(Commit(SomeTokens(10), 5000, 10).ok());
    const StoreStats before = store_->Stats();

    *state_ = disk;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(CodeOf(AppendText(id, 13, "lost")), code) << i;
      const absl::StatusOr<SnapshotPtr> committed = Commit(SomeTokens(20), 5000, 10);
      EXPECT_EQ(CodeOf(committed), code) << i;
    }
    EXPECT_EQ(CodeOf(store_->DeleteDocument("t", id)), code);
    EXPECT_EQ(*store_->ReadText("t", id, 0, 100), "acknowledged ");
    EXPECT_EQ(*ReadAll(**store_->FindSnapshot(KeyOf(SomeTokens(10))), 0), SomeText(5000, 1));
    EXPECT_EQ(store_->Stats().text_bytes, before.text_bytes);
    EXPECT_EQ(store_->Stats().reserved_bytes, 0);

    *state_ = Disk::kGood;
    EXPECT_TRUE(store_->Stats().writes_failing);
    ASSERT_OK(Eventually([&] { return AppendText(id, 13, "and on"); }));
    ASSERT_OK(Eventually([&] {
      return store_->Stats().writes_failing ? absl::UnavailableError("not yet said")
                                            : absl::OkStatus();
    }));
    ASSERT_TRUE(Commit(SomeTokens(20), 5000, 10).ok());
    Reopen();
    EXPECT_EQ(*store_->ReadText("t", id, 0, 100), "acknowledged and on");
    EXPECT_EQ(*ReadAll(**store_->FindSnapshot(KeyOf(SomeTokens(20))), 0), SomeText(5000, 1));
    ASSERT_OK(store_->DropSnapshot(KeyOf(SomeTokens(20)), DropReason::kDeleted));
  }
}

TEST_F(FullDiskTest, ADeletionThatFailsIsDoneLater) {
  ASSERT_TRUE(Commit(SomeTokens(10), 50'000, 10).ok());
  const SnapshotKey key = KeyOf(SomeTokens(10));
  SnapshotPtr pinned = *store_->FindSnapshot(key);
  ASSERT_OK(store_->DropSnapshot(key, DropReason::kDeleted));
  *state_ = Disk::kFull;
  pinned.reset();
  store_->WaitForReclaim();
  *state_ = Disk::kGood;
  ASSERT_OK(Eventually([&] {
    store_->WaitForReclaim();
    return store_->Stats().snapshot_bytes == 0 ? absl::OkStatus()
                                               : absl::UnavailableError("not yet reclaimed");
  }));
  EXPECT_EQ(SegmentFiles(), 0);
}

}  // namespace
}  // namespace longleaf::store
