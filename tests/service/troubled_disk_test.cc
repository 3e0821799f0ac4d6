// A disk that stalls, is full or takes no states, under a whole server: what can go on goes on, and
// the rest comes back without a restart.

#include "tests/unit/cache_store/troubled_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "cache_store/open_with_file_system.h"
#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

constexpr char kQuestion[] = "What stood by the road?";

class TroubledDiskTest : public ServerTest {
 protected:
  TroubledDiskTest() {
    open_store_ = [this](const store::StoreOptions& options) {
      return store::OpenWithFileSystem(options, file_system_);
    };
  }

  grpc::Status Rename(const std::string& id, const std::string& display_name) {
    grpc::ClientContext context;
    v1::UpdateDocumentRequest request;
    request.mutable_document()->set_name("documents/" + id);
    request.mutable_document()->set_display_name(display_name);
    request.mutable_update_mask()->add_paths("display_name");
    v1::Document document;
    return documents_->UpdateDocument(&context, request, &document);
  }

  const std::shared_ptr<store::DiskState> disk_ = std::make_shared<store::DiskState>();
  const std::shared_ptr<rocksdb::FileSystem> file_system_ =
      std::make_shared<store::TroubledFileSystem>(disk_);
};

TEST_F(TroubledDiskTest, AStalledDiskHoldsUpNoAnswerFromMemory) {
  Start();
  UploadAndWait("doc", Filler(5'000));
  const Answer before = Ask("doc", kQuestion);
  ASSERT_TRUE(before.status.ok()) << before.status.error_message();

  *disk_ = store::Disk::kStalled;
  // More than the server has threads for calls that wait for the disk.
  std::vector<std::thread> held_up;
  std::atomic<int> succeeded{0};
  constexpr int kWriters = 12;
  for (int i = 0; i < kWriters; ++i) {
    held_up.emplace_back([this, i, &succeeded] {
      v1::Document document;
      const bool ok = i % 2 == 0
                          ? Rename("doc", "name " + std::to_string(i)).ok()
                          : Upload(Header("new-" + std::to_string(i)), "text", &document).ok();
      succeeded += ok ? 1 : 0;
    });
  }
  disk_->AwaitStalled(1);
  for (int i = 0; i < 8; ++i) {
    const Answer during = Ask("doc", kQuestion);
    ASSERT_TRUE(during.status.ok()) << during.status.error_message();
    EXPECT_EQ(during.text, before.text);
    EXPECT_EQ(during.started.tier(), v1::STATE_TIER_MEMORY);
  }
  EXPECT_EQ(Get("doc").state(), v1::DOCUMENT_STATE_ACTIVE);
  EXPECT_EQ(succeeded, 0);

  *disk_ = store::Disk::kGood;
  for (std::thread& thread : held_up) {
    thread.join();
  }
  EXPECT_EQ(succeeded, kWriters);
  for (int i = 1; i < kWriters; i += 2) {
    EXPECT_EQ(Watch("new-" + std::to_string(i)).state(), v1::DOCUMENT_STATE_ACTIVE);
  }
}

// The time that the disk needs is not the client's: its upload is not idle.
TEST_F(TroubledDiskTest, AnUploadWaitsForAStalledDiskAsLongAsItTakes) {
  options_.upload_idle_seconds = 1;
  Start();
  *disk_ = store::Disk::kStalled;
  grpc::Status status;
  std::thread held_up([this, &status] {
    v1::Document document;
    status = Upload(Header("doc"), "The mill stood by the river.", &document);
  });
  disk_->AwaitStalled(1);
  for (int i = 0; i < 3; ++i) {
    // One that says nothing shows that the time has passed.
    grpc::ClientContext context;
    v1::Document document;
    EXPECT_ERROR(documents_->UploadDocument(&context, &document)->Finish(), DEADLINE_EXCEEDED,
                 "UPLOAD_IDLE");
  }
  *disk_ = store::Disk::kGood;
  held_up.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(TroubledDiskTest, AFullDiskIsSaidAndLeftBehindWithoutARestart) {
  Start();
  const std::string text = Filler(5'000);
  UploadAndWait("doc", text);
  const Answer before = Ask("doc", kQuestion);

  *disk_ = store::Disk::kFull;
  v1::Document document;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Upload(Header("more"), text, &document).error_code(),
              grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(Rename("doc", "another name").error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  EXPECT_EQ(Metric("longleaf_store_writes_failing"), 1);
  EXPECT_EQ(Ask("doc", kQuestion).text, before.text);

  *disk_ = store::Disk::kGood;
  EXPECT_TRUE(Eventually([&] { return Rename("doc", "another name").ok(); }));
  EXPECT_TRUE(Eventually([&] { return Metric("longleaf_store_writes_failing") == 0; }));
  EXPECT_EQ(Get("doc").display_name(), "another name");
  UploadAndWait("more", text);
  EXPECT_EQ(Ask("more", kQuestion).text, before.text);
}

TEST_F(TroubledDiskTest, AStateThatFoundNoRoomIsStoredWhenThereIsSome) {
  disk_->free_bytes = (uint64_t{256} << 20) + 100'000;  // of which the store keeps 256 MiB free
  Start();
  UploadAndWait("doc", Filler(50'000));
  EXPECT_EQ(Metric("longleaf_state_bytes{tier=\"disk\"}"), 0);
  EXPECT_GE(Metric("longleaf_state_save_failures_total"), 1);
  const Answer live = Ask("doc", kQuestion);
  ASSERT_TRUE(live.status.ok()) << live.status.error_message();
  EXPECT_EQ(live.started.tier(), v1::STATE_TIER_MEMORY);
  EXPECT_TRUE(Eventually([&] { return Metric("longleaf_requests_running") == 0; }));

  disk_->free_bytes = uint64_t{1} << 40;
  EXPECT_TRUE(Eventually([&] { return Metric("longleaf_state_bytes{tier=\"disk\"}") > 0; }));
  Restart();
  const Answer stored = Ask("doc", kQuestion);
  EXPECT_EQ(stored.started.tier(), v1::STATE_TIER_DISK);
  EXPECT_EQ(stored.text, live.text);
  EXPECT_EQ(Metric("longleaf_document_tokens_total"), 0);
}

// The last moment to store it is the shutdown.
TEST_F(TroubledDiskTest, AStateThatFoundNoRoomIsStoredWhenTheServerStops) {
  disk_->free_bytes = (uint64_t{256} << 20) + 100'000;
  Start();
  UploadAndWait("doc", Filler(50'000));
  EXPECT_EQ(Metric("longleaf_state_bytes{tier=\"disk\"}"), 0);
  disk_->free_bytes = uint64_t{1} << 40;
  Restart();
  EXPECT_EQ(Ask("doc", kQuestion).started.tier(), v1::STATE_TIER_DISK);
  EXPECT_EQ(Metric("longleaf_document_tokens_total"), 0);
}

TEST_F(TroubledDiskTest, CheckpointsComeByTimeToo) {
  options_.checkpoint_tokens = int64_t{1} << 30;
  options_.checkpoint_seconds = 0.01;
  Start();
  UploadAndWait("doc", Filler(50'000));
  EXPECT_GE(Metric("longleaf_state_save_seconds_count"), 2);  // one is the whole
  EXPECT_GE(Metric("longleaf_store_snapshots_removed_total{reason=\"replaced\"}"), 1);
  EXPECT_EQ(Metric("longleaf_reread_tokens_total"), 0);
}

}  // namespace
}  // namespace longleaf::service
