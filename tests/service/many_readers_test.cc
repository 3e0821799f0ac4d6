// Many questions, many documents, and reading that goes on meanwhile: one engine step carries them
// all, nobody changes anybody's answer, and nobody is starved.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

// Of model/demo/questions.tsv.
constexpr const char* kQuestions[] = {
    "How many people live in the village of Drentdale?",
    "Where does the ship Sekara sail from?",
    "On which day is the market of the town of Brembley?",
    "At what time does the Hornvale museum open?",
};

constexpr char kQuestion[] = "What stood by the road?";

class ManyReadersTest : public ServerTest {
 protected:
  static v1::AskRequest Request(const std::string& id, const std::string& question) {
    v1::AskRequest request;
    request.set_document("documents/" + id);
    request.set_question(question);
    return request;
  }

  // Any token is as likely as another at this temperature: the end of text comes once in thousands.
  static v1::AskRequest LongAnswer(const std::string& id, int tokens, uint64_t seed = 3) {
    v1::AskRequest request = Request(id, kQuestion);
    request.mutable_sampling()->set_max_tokens(tokens);
    request.mutable_sampling()->set_temperature(100);
    request.mutable_sampling()->set_seed(seed);
    return request;
  }

  std::vector<Answer> AskAtOnce(const std::vector<v1::AskRequest>& requests) {
    std::vector<Answer> answers(requests.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < requests.size(); ++i) {
      threads.emplace_back([this, i, &requests, &answers] { answers[i] = Ask(requests[i]); });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    return answers;
  }

  // Every question of kQuestions `times` over, all at once: the answers are `expected`.
  void ExpectAnswers(const std::vector<std::string>& expected, size_t times, const char* when) {
    SCOPED_TRACE(when);
    std::vector<v1::AskRequest> requests;
    for (size_t i = 0; i < times * std::size(kQuestions); ++i) {
      requests.push_back(Request("demo", kQuestions[i % std::size(kQuestions)]));
    }
    const std::vector<Answer> answers = AskAtOnce(requests);
    for (size_t i = 0; i < answers.size(); ++i) {
      ASSERT_TRUE(answers[i].status.ok()) << answers[i].status.error_message();
      EXPECT_EQ(answers[i].text, expected[i % std::size(kQuestions)]) << "question " << i;
    }
  }

  void UploadOnly(const std::string& id, const std::string& text) {
    v1::Document document;
    const grpc::Status status = Upload(Header(id), text, &document);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
};

TEST_F(ManyReadersTest, AnAnswerIsTheSameAloneInABatchAfterARestoreAndBesideOtherWork) {
  options_.prefill_chunk = 64;
  Start();
  UploadAndWait("demo", DemoDocument());
  std::vector<std::string> alone;
  for (const char* question : kQuestions) {
    const Answer answer = Ask("demo", question);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    ASSERT_FALSE(answer.text.empty());
    alone.push_back(answer.text);
  }
  ExpectAnswers(alone, 8, "a batch of 32");
  UploadOnly("other", Filler(50'000));
  ExpectAnswers(alone, 2, "while another document is read");
  Restart();
  ExpectAnswers(alone, 8, "a batch of 32, restored");
}

TEST_F(ManyReadersTest, TheWeightsAreReadOnceAStepForEverybodyInIt) {
  Start();
  UploadAndWait("a", Filler(9'000, 1));
  UploadAndWait("b", Filler(9'000, 2));
  const double passes = Metric("longleaf_weight_passes_total");
  std::vector<v1::AskRequest> requests;
  for (uint64_t i = 0; i < 32; ++i) {
    requests.push_back(LongAnswer(i % 2 == 0 ? "a" : "b", 200, i));
  }
  double tokens = 0;
  for (const Answer& answer : AskAtOnce(requests)) {
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    tokens += static_cast<double>(answer.finished.usage().answer_tokens());
  }
  // One by one they would take a pass for every token. They do not all come in the same moment, so
  // some passes are for few.
  EXPECT_LT(4 * (Metric("longleaf_weight_passes_total") - passes), tokens);
  EXPECT_EQ(Metric("longleaf_weight_passes_total"), Metric("longleaf_steps_total"));
}

TEST_F(ManyReadersTest, NoMoreAreAnsweredAtOnceThanTheOperatorAllows) {
  options_.max_running_questions = 2;
  Start();
  UploadAndWait("doc", Filler(4'000));
  std::atomic<bool> done = false;
  std::atomic<double> most = 0;
  std::thread watcher([&] {
    while (!done) {
      most = std::max(most.load(), Metric("longleaf_requests_running"));
    }
  });
  EXPECT_TRUE(Eventually([&] {  // once, unless the watcher was kept from looking
    const std::vector<v1::AskRequest> requests(12, LongAnswer("doc", 100));
    for (const Answer& answer : AskAtOnce(requests)) {
      EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    }
    return most >= 1;
  }));
  done = true;
  watcher.join();
  EXPECT_LE(most, 2);
}

TEST_F(ManyReadersTest, ASmallDocumentDoesNotWaitForLargeOnes) {
  options_.prefill_chunk = 16;
  Start();
  for (const char* id : {"large-1", "large-2", "large-3", "large-4", "large-5", "large-6"}) {
    UploadOnly(id, Filler(50'000, static_cast<uint64_t>(id[6])));
  }
  UploadAndWait("small", Filler(1'000));
  for (const char* id : {"large-1", "large-2", "large-3", "large-4", "large-5", "large-6"}) {
    EXPECT_NE(Get(id).state(), v1::DOCUMENT_STATE_ACTIVE) << id;
  }
}

TEST_F(ManyReadersTest, ADeadlineThatCannotBeMetIsRefusedWithATimeToComeBack) {
  Start();
  UploadAndWait("doc", Filler(50'000));
  Stop();
  options_.attention = "full";  // its state has to be made again
  options_.prefill_chunk = 16;
  options_.threads = 1;
  Start();
  // Shows how fast this machine reads: "doc" takes over three times as long as this, nine times the
  // deadline, which is long enough for an answer to be heard.
  const auto begin = std::chrono::steady_clock::now();
  UploadAndWait("other", Filler(16'000, 7));
  const auto took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(Ask("other", "Where?").status.ok());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + took / 3);
  auto reader = questions_->Ask(&context, Request("doc", "Where?"));
  v1::AskResponse event;
  while (reader->Read(&event)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_ERROR(status, RESOURCE_EXHAUSTED, "DEADLINE_TOO_SHORT");
  google::rpc::RetryInfo retry;
  EXPECT_TRUE(HasDetail(status, &retry));
  EXPECT_EQ(Metric("longleaf_requests_rejected_total{reason=\"deadline\"}"), 1);
}

TEST_F(ManyReadersTest, SixtyFourAtOnceGetTheAnswersTheyWouldGetAlone) {
  Start();
  UploadAndWait("a", Filler(12'000, 1));
  UploadAndWait("b", Filler(9'000, 2));
  const std::string alone[] = {Ask("a", kQuestion).text, Ask("b", kQuestion).text};
  const double steps_before = Metric("longleaf_steps_total");
  std::vector<Answer> answers(64);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < answers.size(); ++i) {
    threads.emplace_back(
        [this, i, &answers] { answers[i] = Ask(i % 2 == 0 ? "a" : "b", kQuestion); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  double tokens = 0;
  for (size_t i = 0; i < answers.size(); ++i) {
    ASSERT_TRUE(answers[i].status.ok()) << answers[i].status.error_message();
    EXPECT_EQ(answers[i].text, alone[i % 2]) << i;
    tokens += static_cast<double>(answers[i].finished.usage().answer_tokens());
  }
  // The weights are read once a step for everybody in it.
  EXPECT_LT(Metric("longleaf_steps_total") - steps_before, tokens + 64);
  EXPECT_EQ(Metric("longleaf_requests_running"), 0);
  EXPECT_EQ(Metric("longleaf_requests_waiting{kind=\"question\"}"), 0);
}

TEST_F(ManyReadersTest, TooManyQuestionsAreRefusedWithATimeToComeBack) {
  options_.max_questions = 2;
  Start();
  UploadAndWait("doc", Filler(4'000));
  std::atomic<int> refused = 0;
  std::atomic<int> answered = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 24; ++i) {
    threads.emplace_back([&] {
      const Answer answer = Ask(LongAnswer("doc", 200));
      if (answer.status.ok()) {
        ++answered;
        return;
      }
      EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
      EXPECT_EQ(ErrorInfoOf(answer.status).reason(), "QUEUE_FULL");
      google::rpc::RetryInfo retry;
      EXPECT_TRUE(HasDetail(answer.status, &retry));
      ++refused;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_GT(answered, 0);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(Metric("longleaf_requests_rejected_total{reason=\"queue_full\"}"), refused);
}

}  // namespace
}  // namespace longleaf::service
