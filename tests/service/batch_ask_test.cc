// BatchAsk over the wire: the same answers as asked one by one, failures of one question and of
// all, cancels, slow readers, states that have to be brought back.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr char kQuestion[] = "What stood by the road?";

// Spins until `condition` holds; false after half a minute.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

grpc::Status ToGrpc(const google::rpc::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), status.message(),
                      status.SerializeAsString());
}

class BatchAskTest : public ServerTest {
 protected:
  struct Result {
    grpc::Status status;          // of the call
    std::vector<Answer> answers;  // with the status of each
    std::vector<int> ended;       // indices, in the order in which they ended
  };

  static v1::BatchAskRequest Batch(const std::string& id, size_t questions,
                                   const std::string& text = kQuestion) {
    v1::BatchAskRequest request;
    request.set_document("documents/" + id);
    for (size_t i = 0; i < questions; ++i) {
      request.add_questions()->set_question(text);
    }
    return request;
  }
  // Any token is as likely as another at this temperature: the end of text comes once in 3072.
  static void MakeLong(int tokens, v1::Sampling* sampling) {
    sampling->set_max_tokens(tokens);
    sampling->set_temperature(100);
    sampling->set_seed(1);
  }

  Result BatchAsk(const v1::BatchAskRequest& request) {
    grpc::ClientContext context;
    return ReadAll(request, questions_->BatchAsk(&context, request).get());
  }
  // Checks the order of every question's events.
  static Result ReadAll(const v1::BatchAskRequest& request,
                        grpc::ClientReader<v1::BatchAskResponse>* reader) {
    Result result;
    result.answers.resize(static_cast<size_t>(request.questions_size()));
    std::vector<bool> started(result.answers.size(), false);
    std::vector<bool> ended(result.answers.size(), false);
    v1::BatchAskResponse event;
    while (reader->Read(&event)) {
      const auto i = static_cast<size_t>(event.index());
      if (i >= result.answers.size()) {
        ADD_FAILURE() << "index " << event.index();
        continue;
      }
      EXPECT_FALSE(ended[i]) << "an event after the last one of " << i;
      Answer& answer = result.answers[i];
      switch (event.event_case()) {
        case v1::BatchAskResponse::kProgress:
          EXPECT_FALSE(started[i]);
          answer.progress.push_back(event.progress());
          continue;
        case v1::BatchAskResponse::kStarted:
          EXPECT_FALSE(started[i]);
          started[i] = true;
          answer.started = event.started();
          continue;
        case v1::BatchAskResponse::kText:
          EXPECT_TRUE(started[i]);
          answer.text += event.text().text();
          answer.logprobs.insert(answer.logprobs.end(), event.text().logprobs().begin(),
                                 event.text().logprobs().end());
          continue;
        case v1::BatchAskResponse::kFinished:
          EXPECT_TRUE(started[i]);
          answer.finished = event.finished();
          break;
        case v1::BatchAskResponse::kFailed:
          answer.status = ToGrpc(event.failed());
          break;
        case v1::BatchAskResponse::EVENT_NOT_SET:
          ADD_FAILURE() << "an event without content";
      }
      ended[i] = true;
      result.ended.push_back(static_cast<int>(i));
    }
    result.status = reader->Finish();
    if (result.status.ok()) {
      EXPECT_THAT(ended, Each(true));
    }
    return result;
  }
  // The path in BadRequest.
  static std::string WrongField(const grpc::Status& status) {
    google::rpc::BadRequest details;
    return HasDetail(status, &details) && details.field_violations_size() == 1
               ? details.field_violations(0).field()
               : "none";
  }
};

TEST_F(BatchAskTest, AnswersAreThoseOfTheSameQuestionsAskedAlone) {
  Start();
  UploadAndWait("doc", DemoDocument().substr(0, 5'000));
  v1::BatchAskRequest request = Batch("doc", 0);
  for (const char* question :
       {"What does Fapton Works make?", "Who is the mayor of the town of Brembley?",
        "How many rooms does the Cordley hotel have?", "Where does the ship Sekara sail from?",
        "Tell me the serial number of the Wuttock boiler.",
        "How many people live in the village of Drentdale?"}) {
    request.add_questions()->set_question(question);
  }
  request.mutable_questions(1)->set_max_evidence(2);
  request.mutable_questions(4)->set_max_evidence(16);
  const double steps_before = Metric("longleaf_steps_total");
  const Result together = BatchAsk(request);
  ASSERT_TRUE(together.status.ok()) << together.status.error_message();
  const double steps_together = Metric("longleaf_steps_total") - steps_before;
  for (int i = 0; i < request.questions_size(); ++i) {
    SCOPED_TRACE(i);
    v1::AskRequest one;
    one.set_document(request.document());
    one.set_question(request.questions(i).question());
    one.set_max_evidence(request.questions(i).max_evidence());
    const Answer alone = Ask(one);
    const Answer& answer = together.answers[static_cast<size_t>(i)];
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.text, alone.text);
    EXPECT_FALSE(answer.text.empty());
    EXPECT_EQ(answer.finished.reason(), alone.finished.reason());
    EXPECT_EQ(answer.started.tier(), v1::STATE_TIER_MEMORY);
    EXPECT_EQ(answer.finished.usage().SerializeAsString(),
              alone.finished.usage().SerializeAsString());
    ASSERT_EQ(answer.finished.evidence_size(), alone.finished.evidence_size());
    for (int e = 0; e < alone.finished.evidence_size(); ++e) {
      EXPECT_EQ(answer.finished.evidence(e).text(), alone.finished.evidence(e).text());
      EXPECT_FALSE(answer.finished.evidence(e).text().empty());
    }
  }
  EXPECT_GT(together.answers[4].finished.evidence_size(), 2);
  EXPECT_EQ(together.answers[0].finished.evidence_size(), 0);
  // They shared their steps.
  EXPECT_LT(steps_together, Metric("longleaf_steps_total") - steps_before - steps_together);
}

TEST_F(BatchAskTest, AQuestionsOwnSamplingGoesBeforeTheShared) {
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 3);
  MakeLong(5, request.mutable_sampling());
  request.mutable_sampling()->set_logprobs(1);
  request.mutable_questions(1)->mutable_sampling()->set_max_tokens(9);
  request.mutable_questions(2)->mutable_sampling()->set_logprobs(3);
  request.mutable_questions(2)->mutable_sampling()->set_seed(4);
  const Result result = BatchAsk(request);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  const int64_t tokens[] = {5, 9, 5};
  const int top[] = {1, 1, 3};
  const uint64_t seeds[] = {1, 1, 4};
  for (size_t i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    const Answer& answer = result.answers[i];
    EXPECT_EQ(answer.finished.usage().answer_tokens(), tokens[i]);
    EXPECT_EQ(answer.finished.seed(), seeds[i]);
    ASSERT_EQ(answer.logprobs.size(), static_cast<size_t>(tokens[i]));
    EXPECT_EQ(answer.logprobs[0].top_size(), top[i]);
  }
  EXPECT_EQ(result.answers[1].text.substr(0, result.answers[0].text.size()),
            result.answers[0].text);
  EXPECT_NE(result.answers[2].text, result.answers[0].text);
}

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
  options_.state_memory_bytes = int64_t{8} << 20;
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 3);
  MakeLong(15'000, request.mutable_questions(1)->mutable_sampling());
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

TEST_F(BatchAskTest, ASlowReaderHoldsUpNobodyAndMissesNothing) {
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 4);
  // Many more bytes than there is room for on their way.
  MakeLong(150, request.mutable_sampling());
  request.mutable_sampling()->set_logprobs(20);
  grpc::ClientContext context;
  auto reader = questions_->BatchAsk(&context, request);
  ASSERT_TRUE(Eventually([this] { return Metric("longleaf_generated_tokens_total") > 0; }));
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(Ask("doc", kQuestion).status.ok());
  }
  const Result result = ReadAll(request, reader.get());
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  for (const Answer& answer : result.answers) {
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(answer.logprobs.size(), static_cast<size_t>(answer.finished.usage().answer_tokens()));
    EXPECT_EQ(answer.text, result.answers[0].text);  // the same seed
  }
}

TEST_F(BatchAskTest, AShortAnswerDoesNotWaitForALongOne) {
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 4);
  MakeLong(500, request.mutable_questions(0)->mutable_sampling());
  for (int i = 1; i < 4; ++i) {
    request.mutable_questions(i)->mutable_sampling()->set_max_tokens(2);
  }
  const Result result = BatchAsk(request);
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  ASSERT_EQ(result.ended.size(), 4u);
  EXPECT_EQ(result.ended.back(), 0);
}

TEST_F(BatchAskTest, AStateIsBroughtBackOnceForAll) {
  Start();
  UploadAndWait("doc", Filler(6'000));
  const std::string alone = Ask("doc", kQuestion).text;
  const int64_t tokens = Get("doc").token_count();
  Restart();
  const Result stored = BatchAsk(Batch("doc", 6));
  ASSERT_TRUE(stored.status.ok()) << stored.status.error_message();
  // A question that comes a moment later may find it in memory.
  EXPECT_EQ(stored.answers[0].started.tier(), v1::STATE_TIER_DISK);
  for (const Answer& answer : stored.answers) {
    EXPECT_NE(answer.started.tier(), v1::STATE_TIER_PREFILL);
    EXPECT_EQ(answer.started.tokens_reused(), tokens + 1);
    EXPECT_EQ(answer.text, alone);
  }
  EXPECT_EQ(Metric("longleaf_state_lookups_total{result=\"hit\",tier=\"disk\"}"), 1);
  EXPECT_EQ(Metric("longleaf_document_tokens_total"), 0);

  Stop();
  options_.attention = "streaming:sinks=0,w=64";  // its state has to be made again
  Start();
  const Result rebuilt = BatchAsk(Batch("doc", 6));
  ASSERT_TRUE(rebuilt.status.ok()) << rebuilt.status.error_message();
  const double read = Metric("longleaf_document_tokens_total");
  EXPECT_LE(read, static_cast<double>(tokens + 1));
  EXPECT_EQ(rebuilt.answers[0].started.tier(), v1::STATE_TIER_PREFILL);
  for (const Answer& answer : rebuilt.answers) {
    EXPECT_EQ(answer.text, rebuilt.answers[0].text);
    for (size_t i = 1; i < answer.progress.size(); ++i) {
      EXPECT_GE(answer.progress[i].tokens_done(), answer.progress[i - 1].tokens_done());
    }
  }
}

TEST_F(BatchAskTest, ADeletedDocumentEndsEachOfItsQuestions) {
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 3);
  MakeLong(15'000, request.mutable_sampling());
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
  const Result result = BatchAsk(request);
  EXPECT_TRUE(result.status.ok()) << result.status.error_message();
  EXPECT_TRUE(result.answers[0].status.ok()) << result.answers[0].status.error_message();
  EXPECT_ERROR(result.answers[1].status, DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED");
}

TEST_F(BatchAskTest, ADocumentThatIsStillReadAnswersPartiallyIfAsked) {
  options_.prefill_chunk = 16;  // slow enough to be caught at it
  Start();
  v1::Document document;
  ASSERT_TRUE(Upload(Header("doc"), Filler(50'000), &document).ok());
  v1::BatchAskRequest request = Batch("doc", 2);
  EXPECT_ERROR(BatchAsk(request).status, FAILED_PRECONDITION, "DOCUMENT_NOT_ACTIVE");
  request.set_allow_partial(true);
  Result partial;
  ASSERT_TRUE(Eventually([&] {
    partial = BatchAsk(request);
    return partial.status.ok() && partial.answers[0].status.ok() && partial.answers[1].status.ok();
  })) << partial.status.error_message();
  EXPECT_LT(partial.answers[1].started.document_tokens_visible(), document.token_count());
}

TEST_F(BatchAskTest, DrainingFinishesABatchAndRefusesTheNext) {
  Start();
  UploadAndWait("doc", Filler(2'000));
  v1::BatchAskRequest request = Batch("doc", 3);
  MakeLong(100, request.mutable_sampling());
  grpc::ClientContext context;
  auto reader = questions_->BatchAsk(&context, request);
  v1::BatchAskResponse event;
  ASSERT_TRUE(reader->Read(&event));
  std::thread stop([this] { server_->Shutdown(); });
  int finished = 0;
  while (reader->Read(&event)) {
    finished += event.has_finished() ? 1 : 0;
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(finished, 3);
  stop.join();
  EXPECT_EQ(BatchAsk(request).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace longleaf::service
