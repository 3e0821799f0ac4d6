// BatchAsk over the wire: failures of one question and of all, limits, cancels, deadlines.

#include <gmock/gmock.h>

#include <set>
#include <string>

#include "tests/service/batch_fixture.h"

namespace longleaf::service {
namespace {

using ::testing::ElementsAre;

TEST_F(BatchAskTest, WhatIsWrongWithTheRequestEndsTheCallBeforeAnythingStarts) {
  options_.max_batch_questions = 5;
  options_.max_question_bytes = 500;
  Start();
  UploadAndWait("doc", Filler(2'000));
  const auto expect_wrong = [this](const v1::BatchAskRequest& request, const std::string& field,
                                   const std::string& reason) {
    SCOPED_TRACE(field);
    const grpc::Status status = BatchAsk(request).status;
    EXPECT_ERROR(status, INVALID_ARGUMENT, reason);
    EXPECT_EQ(WrongField(status), field);
  };
  expect_wrong(Batch("doc", 0), "questions", "INVALID_FIELD");
  expect_wrong(Batch("doc", 6), "questions", "INVALID_FIELD");
  expect_wrong(Batch("../doc", 2), "document", "INVALID_FIELD");
  EXPECT_ERROR(BatchAsk(Batch("nothing", 2)).status, NOT_FOUND, "DOCUMENT_NOT_FOUND");
  v1::BatchAskRequest request = Batch("doc", 2);
  request.mutable_sampling()->set_top_p(2);
  expect_wrong(request, "sampling.top_p", "INVALID_FIELD");
  request = Batch("doc", 4);
  request.mutable_questions(3)->mutable_sampling()->set_top_p(2);
  expect_wrong(request, "questions[3].sampling.top_p", "INVALID_FIELD");
  request = Batch("doc", 4);
  request.mutable_questions(2)->set_question("");
  expect_wrong(request, "questions[2].question", "INVALID_FIELD");
  request.mutable_questions(2)->set_question(Filler(501));
  expect_wrong(request, "questions[2].question", "QUESTION_TOO_LONG");
  request = Batch("doc", 4);
  request.mutable_questions(1)->set_max_evidence(17);
  expect_wrong(request, "questions[1].max_evidence", "INVALID_FIELD");
  request = Batch("doc", 2);
  for (int i = 0; i < 16; ++i) {
    request.mutable_sampling()->add_stop("stop" + std::to_string(i));
  }
  request.mutable_questions(0)->mutable_sampling()->set_max_tokens(1);
  request.mutable_questions(1)->mutable_sampling()->add_stop("one more");
  expect_wrong(request, "questions[1].sampling.stop", "INVALID_FIELD");
  EXPECT_EQ(Metric("longleaf_generated_tokens_total"), 0);
  EXPECT_EQ(Metric("longleaf_question_tokens_total"), 0);

  request.mutable_questions(1)->clear_sampling();
  request.mutable_sampling()->set_max_tokens(1);
  EXPECT_TRUE(BatchAsk(request).status.ok());
  EXPECT_EQ(BatchAsk(Batch("doc", 5)).answers.size(), 5u);
}

TEST_F(BatchAskTest, AQuestionThatFailsLeavesTheOthersAlone) {
  options_.prefill_chunk = 64;  // a state grows by little more than it keeps
  Start();
  const v1::Model model = GetModel();
  Stop();
  // Room for a short document and some short answers, and an answer that would take more.
  options_.state_memory_bytes =
      12 * model.state_bytes_fixed() + static_cast<int64_t>(3000 * model.state_bytes_per_token());
  const int tokens = static_cast<int>(1.5 * static_cast<double>(options_.state_memory_bytes) /
                                      model.state_bytes_per_token());
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 3);
  MakeLong(tokens, request.mutable_questions(1)->mutable_sampling());
  const Result result = BatchAsk(request);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_ERROR(result.answers[1].status, RESOURCE_EXHAUSTED, "OUT_OF_MEMORY");
  EXPECT_EQ(result.answers[1].text, "");
  const std::string alone = Ask("doc", kQuestion).text;
  for (const size_t i : {size_t{0}, size_t{2}}) {
    EXPECT_TRUE(result.answers[i].status.ok()) << result.answers[i].status.error_message();
    EXPECT_EQ(result.answers[i].text, alone);
  }
}

TEST_F(BatchAskTest, WhatFindsNoRoomInTheQueueIsToldToComeBack) {
  options_.max_questions = 2;
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 5);
  MakeLong(10'000, request.mutable_sampling());
  grpc::ClientContext context;
  auto reader = questions_->BatchAsk(&context, request);
  google::rpc::RetryInfo retry;
  std::set<int32_t> refused;
  std::set<int32_t> started;
  while (refused.size() < 3 || started.size() < 2) {
    v1::BatchAskResponse event;
    ASSERT_TRUE(reader->Read(&event));
    if (event.has_failed()) {
      EXPECT_ERROR(ToGrpc(event.failed()), RESOURCE_EXHAUSTED, "QUEUE_FULL");
      EXPECT_TRUE(HasDetail(ToGrpc(event.failed()), &retry));
      refused.insert(event.index());
    } else {
      started.insert(event.index());
    }
  }
  EXPECT_THAT(started, ElementsAre(0, 1));
  EXPECT_THAT(refused, ElementsAre(2, 3, 4));
  EXPECT_EQ(Metric("longleaf_requests_rejected_total{reason=\"queue_full\"}"), 3);

  // No room for any: nothing started, and the call says so itself.
  const grpc::Status status = BatchAsk(Batch("doc", 3)).status;
  EXPECT_ERROR(status, RESOURCE_EXHAUSTED, "QUEUE_FULL");
  EXPECT_TRUE(HasDetail(status, &retry));
  context.TryCancel();
}

TEST_F(BatchAskTest, ACancelInTheMiddleEndsAllTheWork) {
  options_.max_questions = 8;
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 8);
  MakeLong(10'000, request.mutable_sampling());
  {
    grpc::ClientContext context;
    auto reader = questions_->BatchAsk(&context, request);
    std::set<int32_t> answering;
    v1::BatchAskResponse event;
    while (answering.size() < 8) {
      ASSERT_TRUE(reader->Read(&event));
      if (event.has_text()) {
        answering.insert(event.index());
      }
    }
    EXPECT_EQ(Metric("longleaf_requests_running"), 8);
    context.TryCancel();
  }
  EXPECT_TRUE(Eventually([this] { return Metric("longleaf_requests_running") == 0; }));
  EXPECT_EQ(Metric("longleaf_requests_finished_total{kind=\"question\",reason=\"cancelled\"}"), 8);
  EXPECT_EQ(Metric("longleaf_requests_waiting{kind=\"question\"}"), 0);
  // Their places are free.
  const Result next = BatchAsk(Batch("doc", 8));
  EXPECT_TRUE(next.status.ok()) << next.status.error_message();
  for (const Answer& answer : next.answers) {
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  }
}

TEST_F(BatchAskTest, ADeletedDocumentEndsEachOfItsQuestions) {
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 3);
  MakeLong(15'000, request.mutable_sampling());
  request.mutable_sampling()->set_logprobs(20);  // so much that they wait for their reader
  request.mutable_questions(2)->mutable_sampling()->set_max_tokens(1);
  grpc::ClientContext context;
  auto reader = questions_->BatchAsk(&context, request);
  v1::BatchAskResponse event;
  do {
    ASSERT_TRUE(reader->Read(&event));
  } while (!event.has_finished());
  EXPECT_EQ(event.index(), 2);
  grpc::ClientContext delete_context;
  v1::DeleteDocumentRequest deletion;
  deletion.set_name("documents/doc");
  google::protobuf::Empty empty;
  ASSERT_TRUE(documents_->DeleteDocument(&delete_context, deletion, &empty).ok());
  std::set<int32_t> failed;
  while (reader->Read(&event)) {
    if (event.has_failed()) {
      EXPECT_ERROR(ToGrpc(event.failed()), NOT_FOUND, "DOCUMENT_NOT_FOUND");
      failed.insert(event.index());
    }
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_THAT(failed, ElementsAre(0, 1));
}

TEST_F(BatchAskTest, TheServersDeadlineIsEachQuestionsOwn) {
  options_.max_question_seconds = 2;
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 2);
  request.mutable_questions(0)->mutable_sampling()->set_max_tokens(2);
  MakeLong(15'000, request.mutable_questions(1)->mutable_sampling());
  request.mutable_questions(1)->mutable_sampling()->set_logprobs(20);
  // The short one has as long, which a machine with other work may not find at once.
  EXPECT_TRUE(Eventually([&] {
    const Result result = BatchAsk(request);
    EXPECT_TRUE(result.status.ok()) << result.status.error_message();
    EXPECT_ERROR(result.answers[1].status, DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED");
    return result.answers[0].status.ok();
  }));
}

}  // namespace
}  // namespace longleaf::service
