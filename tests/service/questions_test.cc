// Questions over the wire: where the state comes from, partial answers, cancels and deadlines, slow
// and vanished readers, many at once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

using QuestionsTest = ServerTest;

constexpr char kQuestion[] = "What stood by the road?";

v1::AskRequest Request(const std::string& id) {
  v1::AskRequest request;
  request.set_document("documents/" + id);
  request.set_question(kQuestion);
  return request;
}

// Any token is as likely as another at this temperature: the end of text comes once in thousands.
v1::AskRequest LongAnswer(const std::string& id, int tokens) {
  v1::AskRequest request = Request(id);
  request.mutable_sampling()->set_max_tokens(tokens);
  request.mutable_sampling()->set_temperature(100);
  request.mutable_sampling()->set_seed(1);
  return request;
}

TEST_F(QuestionsTest, AStateIsUsedFromMemoryThenFromDiskAndNeverReadTwice) {
  Start();
  UploadAndWait("doc", Filler(20'000));
  const Answer live = Ask("doc", kQuestion);
  ASSERT_TRUE(live.status.ok()) << live.status.error_message();
  const int64_t tokens = Get("doc").token_count();
  EXPECT_EQ(live.started.tier(), v1::STATE_TIER_MEMORY);
  EXPECT_EQ(live.finished.usage().document_tokens(), tokens);
  EXPECT_EQ(live.started.tokens_reused(), tokens + 1);  // and BOS
  EXPECT_EQ(live.started.tokens_prefilled(), live.finished.usage().question_tokens());
  EXPECT_GT(live.finished.timings().time_to_first_token().nanos(), 0);

  Restart();
  const Answer stored = Ask("doc", kQuestion);
  ASSERT_TRUE(stored.status.ok()) << stored.status.error_message();
  EXPECT_EQ(stored.started.tier(), v1::STATE_TIER_DISK);
  EXPECT_EQ(stored.started.tokens_reused(), tokens + 1);
  EXPECT_EQ(stored.started.tokens_prefilled(), stored.finished.usage().question_tokens());
  EXPECT_EQ(stored.text, live.text);
  EXPECT_EQ(Metric("longleaf_document_tokens_total"), 0);
  EXPECT_EQ(Metric("longleaf_state_lookups_total{result=\"hit\",tier=\"disk\"}"), 1);

  const Answer again = Ask("doc", kQuestion);
  EXPECT_EQ(again.started.tier(), v1::STATE_TIER_MEMORY);
  EXPECT_EQ(again.text, live.text);
}

TEST_F(QuestionsTest, TheSameTextAgainIsFoundAndNothingIsRead) {
  Start();
  const std::string text = Filler(20'000);
  UploadAndWait("first", text);
  const double read = Metric("longleaf_document_tokens_total");
  UploadAndWait("second", text);
  EXPECT_EQ(Metric("longleaf_document_tokens_total"), read);
  EXPECT_EQ(Get("second").progress().tokens_done(), Get("second").token_count());
  EXPECT_EQ(Ask("second", kQuestion).text, Ask("first", kQuestion).text);
  // A longer text with the same beginning goes on from there... from a checkpoint; the state of
  // "first" is of all its tokens and the last may differ, so the text is cut where words end.
  grpc::ClientContext context;
  v1::DeleteDocumentRequest request;
  request.set_name("documents/first");
  google::protobuf::Empty empty;
  ASSERT_TRUE(documents_->DeleteDocument(&context, request, &empty).ok());
  Restart();
  const Answer answer = Ask("second", kQuestion);
  EXPECT_EQ(answer.started.tier(), v1::STATE_TIER_DISK);
}

TEST_F(QuestionsTest, ADamagedStateIsDroppedCountedAndReadAgainFromTheText) {
  Start();
  UploadAndWait("doc", Filler(20'000));
  const Answer before = Ask("doc", kQuestion);
  Stop();
  // The states are the largest files of the store; flip one byte in the middle of each.
  int flipped = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(options_.store_path)) {
    if (entry.path().extension() != ".sst" || entry.file_size() < 200'000) {
      continue;
    }
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(entry.file_size() / 2));
    const char byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(entry.file_size() / 2));
    file.put(static_cast<char>(byte ^ 0x10));
    ++flipped;
  }
  ASSERT_GT(flipped, 0);
  Start();
  const Answer after = Ask("doc", kQuestion);
  ASSERT_TRUE(after.status.ok()) << after.status.error_message();
  EXPECT_EQ(after.started.tier(), v1::STATE_TIER_PREFILL);
  EXPECT_GT(after.started.tokens_prefilled(), after.finished.usage().question_tokens());
  EXPECT_FALSE(after.progress.empty());
  EXPECT_EQ(after.text, before.text);
  // It may have begun on the damaged state, but nothing was said before that was verified.
  EXPECT_EQ(after.started_events, 1);
  EXPECT_EQ(after.started.tier(), v1::STATE_TIER_PREFILL);
  EXPECT_EQ(Metric("longleaf_state_rejected_total{reason=\"corrupt\"}"), 1);
  EXPECT_GE(Metric("longleaf_store_damaged_reads_total"), 1);
  const double read = Metric("longleaf_document_tokens_total");
  EXPECT_GT(read, 0);
  EXPECT_EQ(Metric("longleaf_reread_tokens_total"), read) << "all of it had been read before";
  Restart();
  EXPECT_EQ(Ask("doc", kQuestion).started.tier(), v1::STATE_TIER_DISK);
}

TEST_F(QuestionsTest, StatesForAnotherAttentionAreNotUsed) {
  Start();
  UploadAndWait("doc", Filler(20'000));
  Stop();
  options_.attention = "streaming:sinks=0,w=64";
  Start();
  const Answer answer = Ask("doc", kQuestion);
  ASSERT_TRUE(answer.status.ok());
  EXPECT_EQ(answer.started.tier(), v1::STATE_TIER_PREFILL);
}

TEST_F(QuestionsTest, ADocumentThatIsStillReadAnswersPartiallyIfAsked) {
  options_.prefill_chunk = 16;  // slow enough to be caught at it
  options_.min_prefill_chunk = 1;
  options_.max_slowdown = 1;
  Start();
  v1::Document document;
  ASSERT_TRUE(Upload(Header("doc"), Filler(50'000), &document).ok());
  const Answer refused = Ask("doc", kQuestion);
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(ErrorInfoOf(refused.status).reason(), "DOCUMENT_NOT_ACTIVE");
  EXPECT_EQ(ErrorInfoOf(refused.status).metadata().at("tokens_total"),
            std::to_string(document.token_count()));

  v1::AskRequest request = Request("doc");
  request.set_allow_partial(true);
  Answer partial;
  ASSERT_TRUE(Eventually([&] {
    partial = Ask(request);
    return partial.status.ok();
  })) << partial.status.error_message();
  EXPECT_GT(partial.started.document_tokens_visible(), 0);
  EXPECT_LT(partial.started.document_tokens_visible(), document.token_count());
}

TEST_F(QuestionsTest, ALongReadingDoesNotHoldUpQuestionsOnOtherDocuments) {
  options_.prefill_chunk = 16;
  options_.min_prefill_chunk = 1;
  options_.max_slowdown = 1;
  Start();
  UploadAndWait("short", Filler(2'000));
  v1::Document document;
  ASSERT_TRUE(Upload(Header("long"), Filler(50'000), &document).ok());
  ASSERT_TRUE(Eventually([this] { return Get("long").progress().tokens_done() > 0; }));
  const Answer answer = Ask("short", kQuestion);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.started.tier(), v1::STATE_TIER_MEMORY);
  // Answered in the middle of it, not after it.
  EXPECT_EQ(Get("long").state(), v1::DOCUMENT_STATE_PREFILLING);
}

TEST_F(QuestionsTest, AnInterruptedReadingGoesOnAfterARestart) {
  options_.prefill_chunk = 16;
  options_.checkpoint_tokens = 1024;
  Start();
  v1::Document document;
  ASSERT_TRUE(Upload(Header("doc"), Filler(50'000), &document).ok());
  ASSERT_TRUE(Eventually([this] { return Get("doc").progress().tokens_done() > 2048; }));
  Stop();
  options_.prefill_chunk = 512;
  Start();
  const v1::WatchDocumentResponse last = Watch("doc");
  EXPECT_EQ(last.state(), v1::DOCUMENT_STATE_ACTIVE);
  const double read = Metric("longleaf_document_tokens_total");
  EXPECT_GT(read, 0);
  EXPECT_LT(read, static_cast<double>(document.token_count() - 2000));
}

TEST_F(QuestionsTest, AReaderThatVanishesFreesItsPlace) {
  options_.max_questions = 1;
  Start();
  UploadAndWait("doc", Filler(4'000));
  {
    grpc::ClientContext context;
    auto reader = questions_->Ask(&context, LongAnswer("doc", 5'000));
    v1::AskResponse event;
    ASSERT_TRUE(reader->Read(&event));
    context.TryCancel();
  }
  Answer next;
  EXPECT_TRUE(Eventually([&] {
    next = Ask("doc", kQuestion);
    return next.status.ok();
  })) << next.status.error_message();
  EXPECT_EQ(Metric("longleaf_requests_finished_total{kind=\"question\",reason=\"cancelled\"}"), 1);
}

TEST_F(QuestionsTest, ASlowReaderDoesNotHoldUpOthers) {
  Start();
  UploadAndWait("doc", Filler(4'000));
  grpc::ClientContext context;
  auto slow = questions_->Ask(&context, LongAnswer("doc", 3'000));
  v1::AskResponse event;
  ASSERT_TRUE(slow->Read(&event));  // and then nothing for a while
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(Ask("doc", kQuestion).status.ok());
  }
  while (slow->Read(&event)) {
  }
  EXPECT_TRUE(slow->Finish().ok());
  EXPECT_GT(event.finished().usage().answer_tokens(), 100);  // the last event
}

TEST_F(QuestionsTest, ADeadlineEndsTheWorkAlsoWhileADocumentIsReadAgain) {
  Start();
  UploadAndWait("doc", Filler(50'000));
  Stop();
  options_.attention = "full";  // its state has to be made again
  options_.prefill_chunk = 16;
  Start();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  auto reader = questions_->Ask(&context, Request("doc"));
  v1::AskResponse event;
  while (reader->Read(&event)) {
  }
  // Told beforehand that it cannot be met, once it is known what there is to read; else when it
  // passes.
  EXPECT_THAT(
      reader->Finish().error_code(),
      ::testing::AnyOf(grpc::StatusCode::DEADLINE_EXCEEDED, grpc::StatusCode::RESOURCE_EXHAUSTED));
  // Nobody waits for that reading any more: it stops, and its memory comes back.
  EXPECT_TRUE(Eventually([this] { return Metric("longleaf_requests_running") == 0; }));
  EXPECT_TRUE(Eventually([this] { return Metric("longleaf_state_bytes{tier=\"memory\"}") == 0; }));
}

TEST_F(QuestionsTest, DeletingADocumentEndsItsQuestions) {
  Start();
  UploadAndWait("doc", Filler(4'000));
  grpc::ClientContext context;
  v1::AskRequest request = LongAnswer("doc", 8'000);
  request.mutable_sampling()->set_logprobs(20);  // so much that it waits for its reader
  auto reader = questions_->Ask(&context, request);
  v1::AskResponse event;
  ASSERT_TRUE(reader->Read(&event));
  grpc::ClientContext delete_context;
  v1::DeleteDocumentRequest deletion;
  deletion.set_name("documents/doc");
  google::protobuf::Empty empty;
  ASSERT_TRUE(documents_->DeleteDocument(&delete_context, deletion, &empty).ok());
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(QuestionsTest, MoreDocumentsThanMemoryHoldsAreAnsweredFromDisk) {
  options_.prefill_chunk = 64;  // a state grows by little more than it keeps
  Start();
  UploadAndWait("first", Filler(30'000));
  const double state = Metric("longleaf_state_bytes{tier=\"memory\"}");
  Stop();
  options_.state_memory_bytes = static_cast<int64_t>(3 * state);
  Start();
  for (const char* id : {"a", "b", "c", "d", "e"}) {
    UploadAndWait(id, Filler(30'000, static_cast<uint64_t>(id[0])));
  }
  const double read = Metric("longleaf_document_tokens_total");
  for (int round = 0; round < 2; ++round) {
    for (const char* id : {"a", "b", "c", "d", "e"}) {
      const Answer answer = Ask(id, kQuestion);
      ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
      EXPECT_EQ(answer.started.tokens_prefilled(), answer.finished.usage().question_tokens());
    }
  }
  EXPECT_EQ(Metric("longleaf_document_tokens_total"), read);
  EXPECT_GT(Metric("longleaf_state_evictions_total{reason=\"capacity\",tier=\"memory\"}"), 0);
  EXPECT_LE(Metric("longleaf_state_bytes{tier=\"memory\"}"), 3 * state);
}

TEST_F(QuestionsTest, EvidencePointsIntoTheText) {
  Start();
  const std::string text = Filler(8'000);
  UploadAndWait("doc", text);
  v1::AskRequest request = Request("doc");
  request.set_max_evidence(4);
  const Answer answer = Ask(request);
  ASSERT_TRUE(answer.status.ok());
  ASSERT_GT(answer.finished.evidence_size(), 0);
  EXPECT_LE(answer.finished.evidence_size(), 4);
  float sum = 0;
  for (const auto& evidence : answer.finished.evidence()) {
    ASSERT_LT(evidence.begin_byte(), evidence.end_byte());
    ASSERT_LE(evidence.end_byte(), static_cast<int64_t>(text.size()));
    EXPECT_EQ(evidence.text(),
              text.substr(static_cast<size_t>(evidence.begin_byte()),
                          static_cast<size_t>(evidence.end_byte() - evidence.begin_byte())));
    sum += evidence.weight();
  }
  EXPECT_GT(sum, 0);
  EXPECT_LE(sum, 1.0001f);
}

TEST_F(QuestionsTest, DrainingRefusesNewWorkAndFinishesOld) {
  options_.drain_seconds = 600;  // it ends with the answer
  Start();
  UploadAndWait("doc", Filler(4'000));
  grpc::ClientContext context;
  auto reader = questions_->Ask(&context, LongAnswer("doc", 300));
  v1::AskResponse event;
  ASSERT_TRUE(reader->Read(&event));
  std::thread stop([this] { server_->Shutdown(); });
  v1::Finished finished;
  while (reader->Read(&event)) {
    if (event.has_finished()) {
      finished = event.finished();
    }
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_GT(finished.usage().answer_tokens(), 0);
  stop.join();
  EXPECT_EQ(Ask("doc", kQuestion).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace longleaf::service
