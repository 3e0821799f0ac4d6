// A whole server whose disk stops dead at a named point and loses what was not synced, and the one
// that is started after it: what was acknowledged is there, what was under way goes on, and the
// answers are the same.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "cache_store/open_with_file_system.h"
#include "tests/crash/lossy_file_system.h"
#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

using store::WritePoint;

constexpr char kQuestion[] = "What stood by the road?";

struct Moment {
  WritePoint point;
  int passing;  // the disk stops at the so manieth passing of the point, counted from the arming
};

class ServerCrashTest : public ServerTest, public ::testing::WithParamInterface<Moment> {
 protected:
  ServerCrashTest() {
    open_store_ = [this](store::StoreOptions options) {
      options.text_chunk_bytes = 4096;
      options.at_point = [this](WritePoint point) {
        if (point == GetParam().point && armed_ && --passings_left_ == 0) {
          disk_->Freeze();
        }
      };
      return store::OpenWithFileSystem(options, disk_);
    };
    passings_left_ = GetParam().passing;
  }

  void SetUp() override {
    ServerTest::SetUp();
    options_.checkpoint_tokens = 1024;
    options_.prefill_chunk = 256;
    options_.drain_seconds = 0;
    NewDisk();
  }

  void NewDisk() { disk_ = std::make_shared<store::LossyFileSystem>(directory_ + "/attic"); }

  void Crash() {
    disk_->Freeze();
    Stop();
    ASSERT_TRUE(disk_->LoseUnsynced(static_cast<uint64_t>(GetParam().passing)));
    armed_ = false;
    NewDisk();
  }

  grpc::Status Delete(const std::string& id) {
    grpc::ClientContext context;
    v1::DeleteDocumentRequest request;
    request.set_name("documents/" + id);
    google::protobuf::Empty empty;
    return documents_->DeleteDocument(&context, request, &empty);
  }

  // Until all its tokens are read. A disk that stands still takes no record of that.
  void AwaitReading(const std::string& id) {
    grpc::ClientContext context;
    v1::WatchDocumentRequest request;
    request.set_name("documents/" + id);
    auto reader = documents_->WatchDocument(&context, request);
    v1::WatchDocumentResponse now;
    while (reader->Read(&now) && now.progress().tokens_done() < now.progress().tokens_total()) {
    }
    context.TryCancel();
    reader->Finish();
  }

  // NOT_FOUND, or how much of its text is committed.
  grpc::Status Query(const std::string& id, v1::QueryUploadResponse* response) {
    grpc::ClientContext context;
    v1::QueryUploadRequest request;
    request.set_name("documents/" + id);
    return documents_->QueryUpload(&context, request, response);
  }

  std::string ReadAll(const std::string& id) {
    grpc::ClientContext context;
    v1::ReadDocumentTextRequest request;
    request.set_name("documents/" + id);
    auto reader = documents_->ReadDocumentText(&context, request);
    std::string text;
    v1::ReadDocumentTextResponse piece;
    while (reader->Read(&piece)) {
      text += piece.chunk();
    }
    EXPECT_TRUE(reader->Finish().ok());
    return text;
  }

  std::shared_ptr<store::LossyFileSystem> disk_;
  std::atomic<bool> armed_{false};
  std::atomic<int> passings_left_{0};
};

TEST_P(ServerCrashTest, NothingAcknowledgedIsLost) {
  const std::string kept_text = Filler(6'000, 1);
  const std::string long_text = Filler(30'000, 2);
  Start();
  UploadAndWait("kept", kept_text);
  UploadAndWait("doomed", Filler(6'000, 3));
  const Answer kept = Ask("kept", kQuestion);
  ASSERT_TRUE(kept.status.ok()) << kept.status.error_message();

  // The disk stops somewhere in this; the client goes on as far as it is let.
  armed_ = true;
  v1::UploadHeader header = Header("long");
  header.set_request_id("the-upload-of-long");
  v1::Document document;
  const bool uploaded = Upload(header, long_text, &document, 5'000).ok();
  if (uploaded) {
    AwaitReading("long");
  }
  // While a slow disk stores one checkpoint no other is begun: then more documents lead to the
  // point.
  const bool deleting = GetParam().point == WritePoint::kDocumentDeleting ||
                        GetParam().point == WritePoint::kDocumentDeleted;
  int more = 0;
  while (uploaded && !deleting && passings_left_ > 0 && more < 50) {
    const std::string id = "more-" + std::to_string(more++);
    if (Upload(Header(id), Filler(30'000, static_cast<uint64_t>(100 + more)), &document).ok()) {
      AwaitReading(id);
    }
  }
  const bool deleted = Delete("doomed").ok();
  Crash();

  Start();
  EXPECT_LE(passings_left_, 0) << "the point was not reached so often";
  // What had been acknowledged before.
  EXPECT_EQ(ReadAll("kept"), kept_text);
  EXPECT_EQ(Watch("kept").state(), v1::DOCUMENT_STATE_ACTIVE);
  EXPECT_EQ(Ask("kept", kQuestion).text, kept.text);
  // The deletion: done, or not at all.
  v1::QueryUploadResponse doomed;
  if (const grpc::Status status = Query("doomed", &doomed); status.ok()) {
    EXPECT_FALSE(deleted);
    EXPECT_EQ(ReadAll("doomed"), Filler(6'000, 3));
    EXPECT_TRUE(Ask("doomed", kQuestion).status.ok());
    EXPECT_TRUE(Delete("doomed").ok());
  } else {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  }
  // The upload: whole when that was said, else to be gone on with from what is committed.
  v1::QueryUploadResponse progress;
  const grpc::Status found = Query("long", &progress);
  if (uploaded) {
    ASSERT_TRUE(found.ok()) << found.error_message();
    EXPECT_TRUE(progress.complete());
  }
  if (!found.ok()) {
    EXPECT_EQ(found.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_TRUE(Upload(header, long_text, &document).ok());
  } else if (!progress.complete()) {
    header.set_write_offset(progress.committed_bytes());
    EXPECT_TRUE(Upload(header, long_text, &document).ok());
  } else {
    EXPECT_TRUE(Upload(header, long_text, &document).ok()) << "the same request again";
  }
  const v1::WatchDocumentResponse read = Watch("long");
  ASSERT_EQ(read.state(), v1::DOCUMENT_STATE_ACTIVE);
  EXPECT_EQ(ReadAll("long"), long_text);
  // Every token comes from a checkpoint or is read, and nothing of another document is taken.
  const Answer live = Ask("long", kQuestion);
  ASSERT_TRUE(live.status.ok()) << live.status.error_message();
  EXPECT_EQ(live.finished.usage().document_tokens(), Get("long").token_count());
  UploadAndWait("again", long_text + ".");  // read afresh but for what the two have in common
  Restart();
  const Answer stored = Ask("long", kQuestion);
  EXPECT_EQ(stored.started.tier(), v1::STATE_TIER_DISK);
  EXPECT_EQ(stored.text, live.text);
  // What is counted is what is there.
  for (int i = 0; i < more; ++i) {
    Delete("more-" + std::to_string(i));  // NOT_FOUND, when it was lost
  }
  EXPECT_EQ(Metric("longleaf_documents{state=\"active\"}"), 3);
  EXPECT_EQ(Metric("longleaf_documents{state=\"creating\"}"), 0);
  EXPECT_EQ(Metric("longleaf_store_text_bytes"), 6'000 + 30'000 + 30'001);
  for (const char* id : {"kept", "long", "again"}) {
    EXPECT_TRUE(Delete(id).ok());
  }
  EXPECT_TRUE(Eventually([this] { return Metric("longleaf_state_bytes{tier=\"disk\"}") == 0; }));
  EXPECT_EQ(Metric("longleaf_store_text_bytes"), 0);
}

INSTANTIATE_TEST_SUITE_P(
    Points, ServerCrashTest,
    ::testing::Values(
        Moment{WritePoint::kDocumentCreating, 1}, Moment{WritePoint::kDocumentCreated, 1},
        Moment{WritePoint::kUploadAppending, 1}, Moment{WritePoint::kUploadAppended, 1},
        Moment{WritePoint::kUploadFinalizing, 1}, Moment{WritePoint::kUploadFinalized, 1},
        Moment{WritePoint::kSegmentValueWritten, 2}, Moment{WritePoint::kSegmentFileFinished, 3},
        Moment{WritePoint::kSegmentIngested, 4}, Moment{WritePoint::kManifestCommitting, 2},
        Moment{WritePoint::kManifestCommitted, 1}, Moment{WritePoint::kManifestCommitted, 3},
        Moment{WritePoint::kSegmentReclaiming, 1}, Moment{WritePoint::kSegmentReclaimed, 2},
        Moment{WritePoint::kDocumentDeleting, 1}, Moment{WritePoint::kDocumentDeleted, 1}),
    [](const auto& info) {
      return std::string(store::WritePointName(info.param.point)) + "_" +
             std::to_string(info.param.passing);
    });

}  // namespace
}  // namespace longleaf::service
