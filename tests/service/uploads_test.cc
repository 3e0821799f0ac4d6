// Uploads over the wire: what is refused and how, what is idempotent, what can be resumed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

using UploadsTest = ServerTest;

TEST_F(UploadsTest, UploadRefusesWhatIsNoText) {
  Start();
  v1::Document document;
  grpc::Status status = Upload(Header("bad"), "good so far \xff\xfe not", &document);
  EXPECT_ERROR(status, INVALID_ARGUMENT, "NOT_UTF8");
  google::rpc::BadRequest request;
  EXPECT_TRUE(HasDetail(status, &request));
  // A character cut off by the end of the text.
  EXPECT_ERROR(Upload(Header("cut"), "caf\xc3", &document), INVALID_ARGUMENT, "NOT_UTF8");
  EXPECT_ERROR(Upload(Header("empty"), "", &document), INVALID_ARGUMENT, "EMPTY_DOCUMENT");
  // Their ids are free again.
  EXPECT_TRUE(Upload(Header("bad"), "good text", &document).ok());
}

TEST_F(UploadsTest, UploadChecksItsHeader) {
  Start();
  v1::Document document;
  EXPECT_ERROR(Upload(Header("No Such Id"), "text", &document), INVALID_ARGUMENT, "INVALID_FIELD");
  v1::UploadHeader past = Header("past");
  past.mutable_expire_time()->set_seconds(1);
  EXPECT_ERROR(Upload(past, "text", &document), INVALID_ARGUMENT, "INVALID_FIELD");
  v1::UploadHeader negative = Header("negative");
  negative.mutable_ttl()->set_seconds(-5);
  EXPECT_ERROR(Upload(negative, "text", &document), INVALID_ARGUMENT, "INVALID_FIELD");
  v1::UploadHeader offset = Header("offset");
  offset.set_request_id("r");
  offset.set_write_offset(7);
  EXPECT_ERROR(Upload(offset, "0123456789", &document), INVALID_ARGUMENT, "OFFSET_MISMATCH");

  grpc::ClientContext context;
  auto writer = documents_->UploadDocument(&context, &document);
  v1::UploadDocumentRequest chunk_first;
  chunk_first.set_chunk("text");
  writer->Write(chunk_first);
  writer->WritesDone();
  EXPECT_ERROR(writer->Finish(), INVALID_ARGUMENT, "INVALID_FIELD");
}

TEST_F(UploadsTest, UploadLongerThanTheModelsContextIsRefusedWithBothNumbers) {
  Start();
  v1::Document document;
  const int64_t context = GetModel().context_length();
  // No tokenizer has pieces of eight of its bytes on average.
  const std::string text = Filler(static_cast<size_t>(8 * context));
  const grpc::Status status = Upload(Header("long"), text, &document);
  EXPECT_ERROR(status, INVALID_ARGUMENT, "DOCUMENT_TOO_LONG");
  EXPECT_EQ(ErrorInfoOf(status).metadata().at("context_length"), std::to_string(context));
  EXPECT_GT(std::stoll(ErrorInfoOf(status).metadata().at("tokens")),
            std::stoll(ErrorInfoOf(status).metadata().at("max_document_tokens")));
  EXPECT_EQ(Metric("longleaf_document_tokens_total"), 0);
}

TEST_F(UploadsTest, UploadLongerThanTheOperatorsLimitIsRefused) {
  options_.max_document_bytes = 1000;
  Start();
  v1::Document document;
  EXPECT_ERROR(Upload(Header("a"), Filler(1001), &document), INVALID_ARGUMENT, "DOCUMENT_TOO_LONG");
  v1::UploadHeader announced = Header("b");
  announced.set_total_bytes(1001);
  EXPECT_ERROR(Upload(announced, "x", &document), INVALID_ARGUMENT, "DOCUMENT_TOO_LONG");
}

TEST_F(UploadsTest, TheSameIdIsTakenAndTheSameRequestReturnsTheFirstResult) {
  Start();
  v1::Document document;
  v1::UploadHeader header = Header("once");
  header.set_request_id("request-1");
  ASSERT_TRUE(Upload(header, "some text", &document).ok());
  EXPECT_ERROR(Upload(Header("once"), "other text", &document), ALREADY_EXISTS,
               "DOCUMENT_ALREADY_EXISTS");
  v1::Document again;
  ASSERT_TRUE(Upload(header, "some text", &again).ok());
  EXPECT_EQ(again.name(), "documents/once");
  EXPECT_EQ(again.text_bytes(), 9);
  header.set_document_id("another");
  EXPECT_ERROR(Upload(header, "some text", &document), ALREADY_EXISTS, "DOCUMENT_ALREADY_EXISTS");
}

// Found by client_soak: what the board still knew of the first document was told of the second.
TEST_F(UploadsTest, AnIdUsedAgainBeginsAnew) {
  options_.prefill_chunk = 16;  // so that the second takes its time
  Start();
  UploadAndWait("again", "A short text that is soon read.");
  grpc::ClientContext context;
  v1::DeleteDocumentRequest request;
  request.set_name("documents/again");
  google::protobuf::Empty nothing;
  ASSERT_TRUE(documents_->DeleteDocument(&context, request, &nothing).ok());
  v1::Document document;
  ASSERT_TRUE(Upload(Header("again"), Filler(40'000), &document).ok());
  EXPECT_NE(document.state(), v1::DOCUMENT_STATE_ACTIVE);
  EXPECT_EQ(Watch("again").state(), v1::DOCUMENT_STATE_ACTIVE);
  EXPECT_EQ(Get("again").progress().tokens_done(), Get("again").token_count());
}

TEST_F(UploadsTest, ABrokenUploadGoesOnWhereItWas) {
  Start();
  const std::string text = Filler(30'000);
  v1::Document document;
  {
    grpc::ClientContext context;
    auto writer = documents_->UploadDocument(&context, &document);
    v1::UploadDocumentRequest request;
    *request.mutable_header() = Header("resumed");
    ASSERT_TRUE(writer->Write(request));
    request.set_chunk(text.substr(0, 12'345));
    ASSERT_TRUE(writer->Write(request));
    writer->WritesDone();  // without finish_write: the client died
    EXPECT_ERROR(writer->Finish(), FAILED_PRECONDITION, "UPLOAD_INCOMPLETE");
  }
  Restart();
  grpc::ClientContext context;
  v1::QueryUploadRequest query;
  query.set_name("documents/resumed");
  v1::QueryUploadResponse progress;
  ASSERT_TRUE(documents_->QueryUpload(&context, query, &progress).ok());
  EXPECT_EQ(progress.committed_bytes(), 12'345);
  EXPECT_FALSE(progress.complete());

  v1::UploadHeader header = Header("resumed");
  header.set_write_offset(12'345);
  ASSERT_TRUE(Upload(header, text, &document, 777).ok());
  ASSERT_EQ(Watch("resumed").state(), v1::DOCUMENT_STATE_ACTIVE);

  // The same text in one go has the same tokens, so its state is found.
  ASSERT_TRUE(Upload(Header("whole"), text, &document).ok());
  const v1::WatchDocumentResponse whole = Watch("whole");
  EXPECT_EQ(whole.state(), v1::DOCUMENT_STATE_ACTIVE);
  EXPECT_EQ(Get("whole").token_count(), Get("resumed").token_count());
  EXPECT_EQ(Get("whole").text_sha256(), Get("resumed").text_sha256());
}

TEST_F(UploadsTest, AnUploadThatNobodyGoesOnWithIsDeleted) {
  Start();
  UploadAndWait("whole", Filler(2'000));
  {
    grpc::ClientContext context;
    v1::Document document;
    auto writer = documents_->UploadDocument(&context, &document);
    v1::UploadDocumentRequest request;
    *request.mutable_header() = Header("begun");
    ASSERT_TRUE(writer->Write(request));
    request.set_chunk("some text");
    ASSERT_TRUE(writer->Write(request));
    writer->WritesDone();
    EXPECT_FALSE(writer->Finish().ok()) << "it never said that it was finished";
  }
  EXPECT_EQ(Get("begun").state(), v1::DOCUMENT_STATE_CREATING);
  Stop();
  options_.unfinished_upload_hours = 0;
  Start();
  EXPECT_TRUE(Eventually([this] { return Metric("longleaf_uploads_abandoned_total") == 1; }));
  EXPECT_EQ(Metric("longleaf_documents{state=\"creating\"}"), 0);
  EXPECT_EQ(Get("whole").state(), v1::DOCUMENT_STATE_ACTIVE);
}

TEST_F(UploadsTest, TheDiskCapRefusesTextBeforeItIsWritten) {
  options_.disk_cap_bytes = 96 << 10;
  Start();
  v1::Document document;
  ASSERT_TRUE(Upload(Header("first"), Filler(40'000), &document).ok());
  // Its state does not fit: it can be asked all the same, from memory.
  EXPECT_EQ(Watch("first").state(), v1::DOCUMENT_STATE_ACTIVE);
  EXPECT_TRUE(Ask("first", "What stood by the road?").status.ok());
  const grpc::Status full = Upload(Header("second"), Filler(50'000), &document);
  EXPECT_ERROR(full, RESOURCE_EXHAUSTED, "DISK_FULL");
  google::rpc::QuotaFailure quota;
  EXPECT_TRUE(HasDetail(full, &quota));
  // Room again, and it goes on by itself.
  for (const char* id : {"first", "second"}) {
    grpc::ClientContext context;
    v1::DeleteDocumentRequest request;
    request.set_name(std::string("documents/") + id);
    google::protobuf::Empty empty;
    ASSERT_TRUE(documents_->DeleteDocument(&context, request, &empty).ok());
  }
  EXPECT_TRUE(Upload(Header("second"), Filler(30'000), &document).ok());
}

TEST_F(UploadsTest, TooManyUploadsAreRefusedWithATimeToComeBack) {
  options_.max_queued_documents = 1;
  Start();
  grpc::ClientContext context;
  v1::Document document;
  auto open = documents_->UploadDocument(&context, &document);
  v1::UploadDocumentRequest request;
  *request.mutable_header() = Header("open");
  ASSERT_TRUE(open->Write(request));
  request.set_chunk("the text ");
  ASSERT_TRUE(open->Write(request));
  // Else one of the others could come first, and this be the one that is refused.
  v1::GetDocumentRequest get;
  get.set_name("documents/open");
  ASSERT_TRUE(Eventually([&] {
    grpc::ClientContext get_context;
    v1::Document there;
    return documents_->GetDocument(&get_context, get, &there).ok();
  }));
  v1::Document other;
  const grpc::Status refused = Upload(Header("other"), "text", &other);
  EXPECT_ERROR(refused, RESOURCE_EXHAUSTED, "QUEUE_FULL");
  google::rpc::RetryInfo retry;
  EXPECT_TRUE(HasDetail(refused, &retry));
  request.set_chunk("of the open one");
  request.set_finish_write(true);
  ASSERT_TRUE(open->Write(request));
  open->WritesDone();
  EXPECT_TRUE(open->Finish().ok());
}

}  // namespace
}  // namespace longleaf::service
