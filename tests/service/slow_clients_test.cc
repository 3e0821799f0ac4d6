// Clients that hold their places without using them, and more calls than there are places: each
// limit on time and number, over the wire.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

using Clock = std::chrono::steady_clock;

class SlowClientsTest : public ServerTest {
 protected:
  // An answer that goes on until something stops it: likelihood hardly counts, so it does not end.
  static v1::AskRequest Endless() {
    v1::AskRequest request;
    request.set_document("documents/a");
    request.set_question("What stood by the road?");
    request.mutable_sampling()->set_max_tokens(15'000);
    request.mutable_sampling()->set_temperature(100);
    request.mutable_sampling()->set_seed(1);
    request.mutable_sampling()->set_logprobs(20);
    return request;
  }

  // Sets a client's pace: the time of a call.
  void Pause() {
    grpc::ClientContext context;
    v1::Model model;
    EXPECT_TRUE(models_->GetModel(&context, v1::GetModelRequest(), &model).ok());
  }

  static void ExpectQueueFull(const grpc::Status& status) {
    EXPECT_ERROR(status, RESOURCE_EXHAUSTED, "QUEUE_FULL");
    google::rpc::RetryInfo retry;
    EXPECT_TRUE(HasDetail(status, &retry));
  }
};

TEST_F(SlowClientsTest, AnUploadThatBringsNothingEndsAndCanBeResumed) {
  options_.upload_idle_seconds = 1;
  Start();
  v1::Document document;
  const std::string text = "The mill stood by the river.";
  {
    grpc::ClientContext context;
    auto writer = documents_->UploadDocument(&context, &document);
    v1::UploadDocumentRequest request;
    *request.mutable_header() = Header("a");
    ASSERT_TRUE(writer->Write(request));
    request.set_chunk(text.substr(0, 8));
    ASSERT_TRUE(writer->Write(request));
    EXPECT_ERROR(writer->Finish(), DEADLINE_EXCEEDED, "UPLOAD_IDLE");
  }
  v1::QueryUploadRequest query;
  query.set_name("documents/a");
  v1::QueryUploadResponse progress;
  ASSERT_TRUE(Eventually([&] {
    grpc::ClientContext context;
    return documents_->QueryUpload(&context, query, &progress).ok() &&
           progress.committed_bytes() == 8;
  }));
  v1::UploadHeader header = Header("a");
  header.set_write_offset(8);
  EXPECT_TRUE(Upload(header, text, &document).ok());
  EXPECT_EQ(document.text_bytes(), static_cast<int64_t>(text.size()));
}

// Messages alone do not keep a call open.
TEST_F(SlowClientsTest, AnUploadMustBringText) {
  options_.upload_idle_seconds = 1;
  options_.upload_min_bytes = 4;
  Start();
  grpc::ClientContext context;
  v1::Document document;
  auto writer = documents_->UploadDocument(&context, &document);
  v1::UploadDocumentRequest request;
  *request.mutable_header() = Header("a");
  ASSERT_TRUE(writer->Write(request));
  request.set_chunk("");
  EXPECT_TRUE(Eventually([&] {
    Pause();
    return !writer->Write(request);
  }));
  EXPECT_ERROR(writer->Finish(), DEADLINE_EXCEEDED, "UPLOAD_IDLE");
}

// Text does, a byte at a time.
TEST_F(SlowClientsTest, AnUploadThatBringsTextStaysOpen) {
  options_.upload_idle_seconds = 1;
  options_.upload_min_bytes = 4;
  Start();
  int trials = 0;
  const auto trial = [&](Clock::duration* longest) {
    grpc::ClientContext context;
    v1::Document document;
    auto writer = documents_->UploadDocument(&context, &document);
    v1::UploadDocumentRequest request;
    *request.mutable_header() = Header("a" + std::to_string(++trials));
    bool open = writer->Write(request);
    request.set_chunk("x");
    const Clock::time_point enough = Clock::now() + std::chrono::seconds(2);
    while (open && Clock::now() < enough) {
      const Clock::time_point begun = Clock::now();
      for (int i = 0; open && i < 4; ++i) {
        Pause();
        open = writer->Write(request);
      }
      *longest = std::max(*longest, Clock::now() - begun);
    }
    request.set_finish_write(true);
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  };
  // Where this thread itself was kept from its work for long, the server was right to end the call.
  grpc::Status status;
  EXPECT_TRUE(Eventually([&] {
    Clock::duration longest{0};
    status = trial(&longest);
    return status.ok() || longest < std::chrono::milliseconds(500);
  }));
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(SlowClientsTest, AnAnswerThatNobodyTakesIsEnded) {
  options_.stream_idle_seconds = 1;
  Start();
  UploadAndWait("a", Filler(2000));
  // A channel that takes no more in advance than it must.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  const auto stub = v1::QuestionService::NewStub(grpc::CreateCustomChannel(
      server_->listen_address(), grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  auto reader = stub->Ask(&context, Endless());
  ASSERT_TRUE(Eventually([this] { return Metric("longleaf_generated_tokens_total") > 0; }));
  ASSERT_TRUE(Eventually([this] { return Metric("longleaf_requests_running") == 0; }));
  EXPECT_EQ(Metric("longleaf_requests_finished_total{kind=\"question\",reason=\"cancelled\"}"), 1);
  v1::AskResponse event;
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(SlowClientsTest, AQuestionHasTheServersDeadline) {
  options_.max_question_seconds = 1;
  Start();
  UploadAndWait("a", Filler(2000));
  EXPECT_ERROR(Ask(Endless()).status, DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED");
  // A short one has the same second, which a machine with other work may not find at once.
  v1::AskRequest next = Endless();
  next.mutable_sampling()->set_max_tokens(1);
  EXPECT_TRUE(Eventually([&] { return Ask(next).status.ok(); }));
}

// As a time_point, a deadline in some centuries overflows into the past.
TEST_F(SlowClientsTest, ADeadlineFarAwayIsNotInThePast) {
  Start();
  UploadAndWait("a", Filler(2000));
  v1::AskRequest request = Endless();
  request.mutable_sampling()->set_max_tokens(2);
  for (const int64_t years : {200, 300, 600, 20'000}) {
    SCOPED_TRACE(years);
    grpc::ClientContext context;
    gpr_timespec deadline = gpr_now(GPR_CLOCK_REALTIME);
    deadline.tv_sec += years * 31'557'600;
    context.set_deadline(deadline);
    auto reader = questions_->Ask(&context, request);
    v1::AskResponse event;
    while (reader->Read(&event)) {
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
}

TEST_F(SlowClientsTest, WatchersAndReadersHavePlaces) {
  options_.max_streams = 2;
  Start();
  v1::Document document;
  grpc::ClientContext upload_context;
  auto upload = documents_->UploadDocument(&upload_context, &document);
  v1::UploadDocumentRequest header;
  *header.mutable_header() = Header("a");
  ASSERT_TRUE(upload->Write(header));
  v1::GetDocumentRequest get;
  get.set_name("documents/a");
  ASSERT_TRUE(Eventually([&] {
    grpc::ClientContext context;
    return documents_->GetDocument(&context, get, &document).ok();
  }));

  v1::WatchDocumentRequest watch;
  watch.set_name("documents/a");
  grpc::ClientContext contexts[3];
  std::unique_ptr<grpc::ClientReader<v1::WatchDocumentResponse>> watchers[3];
  v1::WatchDocumentResponse now;
  for (int i = 0; i < 2; ++i) {
    watchers[i] = documents_->WatchDocument(&contexts[i], watch);
    ASSERT_TRUE(watchers[i]->Read(&now));
  }
  watchers[2] = documents_->WatchDocument(&contexts[2], watch);
  EXPECT_FALSE(watchers[2]->Read(&now));
  ExpectQueueFull(watchers[2]->Finish());
  const auto read = [this] {
    grpc::ClientContext context;
    v1::ReadDocumentTextRequest request;
    request.set_name("documents/a");
    auto reader = documents_->ReadDocumentText(&context, request);
    v1::ReadDocumentTextResponse piece;
    while (reader->Read(&piece)) {
    }
    return reader->Finish();
  };
  ExpectQueueFull(read());
  contexts[0].TryCancel();
  EXPECT_EQ(watchers[0]->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&read] { return read().ok(); }));
  contexts[1].TryCancel();
  watchers[1]->Finish();
  upload_context.TryCancel();
  upload->Finish();
}

// How the queue's end is kept is Executor's unit test; here, that every method comes to it.
TEST_F(SlowClientsTest, CallsThatWouldWaitTooLongAreRefused) {
  options_.max_waiting_calls = 0;
  Start();
  {
    grpc::ClientContext context;
    v1::Model model;
    ExpectQueueFull(models_->GetModel(&context, v1::GetModelRequest(), &model));
  }
  {
    grpc::ClientContext context;
    v1::Document document;
    ExpectQueueFull(documents_->GetDocument(&context, v1::GetDocumentRequest(), &document));
  }
  {
    grpc::ClientContext context;
    auto reader = documents_->ReadDocumentText(&context, v1::ReadDocumentTextRequest());
    ExpectQueueFull(reader->Finish());
  }
  ExpectQueueFull(Ask("a", "What?").status);
  EXPECT_EQ(Metric("longleaf_requests_rejected_total{reason=\"queue_full\"}"), 4);
}

}  // namespace
}  // namespace longleaf::service
