// BatchAsk over the wire: the same answers as asked one by one, slow readers, states that have to
// be brought back.

#include <thread>

#include "tests/service/batch_fixture.h"

namespace longleaf::service {
namespace {

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
  options_.drain_seconds = 600;  // it ends with the answer
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
