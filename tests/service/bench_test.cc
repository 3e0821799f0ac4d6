// The load generator against a whole server: what it reports is what the server counted.
#include <gmock/gmock.h>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>

#include "service/bench/load.h"
#include "service/bench/run.h"
#include "service/bench/target.h"
#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

using ::testing::HasSubstr;

class BenchTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    options_.max_queued_documents = 16;
  }

  // Short, with answers that go on.
  bench::Options Plan(bench::Mode mode) {
    bench::Options plan;
    plan.mode = mode;
    plan.address = server_->listen_address();
    plan.metrics = server_->metrics_address();
    plan.json = directory_ + "/report.json";
    plan.document_tokens = 300;
    plan.answer_tokens = 12;
    plan.temperature = 100;
    plan.duration_seconds = 0.2;
    plan.warmup_seconds = 0;
    return plan;
  }

  int Run(const bench::Options& plan) {
    const bench::Surface surface = {.output =
                                        [this](std::string_view text) {
                                          output_ += text;
                                          return true;
                                        },
                                    .message = [this](std::string_view text) { messages_ += text; },
                                    .interrupted = [this] { return interrupted_(); },
                                    .terminal = false,
                                    .width = [] { return 80; }};
    const int exit_code = RunBench(plan, surface);
    report_ = nlohmann::json();
    if (std::ifstream file(plan.json); file) {
      report_ = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    }
    return exit_code;
  }
  int64_t DocumentsLeft() {
    grpc::ClientContext context;
    v1::ListDocumentsResponse response;
    EXPECT_TRUE(documents_->ListDocuments(&context, {}, &response).ok());
    return response.documents_size();
  }

  std::function<bool()> interrupted_ = [] { return false; };
  std::string output_;
  std::string messages_;
  nlohmann::json report_;
};

TEST_F(BenchTest, ClosedLoopCountsWhatTheServerCounts) {
  Start();
  bench::Options plan = Plan(bench::Mode::kClosed);
  plan.clients = {1, 6};
  plan.requests = 15;
  plan.documents = 2;
  plan.connections = 2;
  plan.count_tokens = true;
  plan.plot = directory_ + "/plot.svg";
  ASSERT_EQ(Run(plan), 0) << messages_;
  ASSERT_EQ(report_["results"].size(), 2) << report_;
  double tokens = 0;
  for (const auto& row : report_["results"]) {
    EXPECT_EQ(row["asked"], 15);
    EXPECT_EQ(row["answered"], 15);
    EXPECT_EQ(row["failed"], 0);
    EXPECT_EQ(row["ttft_seconds"]["count"], 15);
    EXPECT_EQ(row["answer_tokens"], row["tokens_in_window"]);
    EXPECT_EQ(row["server_counters"]["longleaf_generated_tokens_total"], row["answer_tokens"]);
    // The server may join texts, so that an answer's first brings several tokens.
    EXPECT_EQ(row["itl_seconds"]["count"].get<int64_t>() + row["first_texts_tokens"].get<int64_t>(),
              row["answer_tokens"]);
    EXPECT_EQ(row["text_gap_seconds"]["count"].get<int64_t>() + 15, row["texts_in_window"]);
    tokens += row["answer_tokens"].get<double>();
  }
  EXPECT_EQ(report_["results"][0]["most_outstanding"], 1);
  EXPECT_EQ(report_["results"][1]["most_outstanding"], 6);
  EXPECT_EQ(Metric("longleaf_generated_tokens_total"), tokens);
  EXPECT_THAT(output_, HasSubstr("clients"));
  EXPECT_TRUE(std::ifstream(plan.plot).good());
  EXPECT_EQ(DocumentsLeft(), 0);
}

TEST_F(BenchTest, OpenLoopCountsWhatItDidNotSend) {
  Start();
  bench::Options plan = Plan(bench::Mode::kOpen);
  plan.rates = {5000};  // far more than can be answered
  plan.most_outstanding = 4;
  plan.requests = 200;
  ASSERT_EQ(Run(plan), 0) << messages_;
  const auto& row = report_["results"][0];
  EXPECT_EQ(row["asked"], 200);
  EXPECT_EQ(row["most_outstanding"], 4);
  EXPECT_GT(row["failures"]["CLIENT_LIMIT"], 0);
  EXPECT_EQ(row["answered"].get<int64_t>() + row["failed"].get<int64_t>(), 200);
  EXPECT_THAT(output_, HasSubstr("CLIENT_LIMIT"));
}

// Coordinated omission: while this program cannot send, questions are due all the same.
TEST_F(BenchTest, OpenLoopMeasuresFromWhenAQuestionWasDue) {
  Start();
  UploadAndWait("short", Filler(500));
  auto target = bench::Target::Open(
      {.address = server_->listen_address(), .connections = 1, .interrupted = interrupted_});
  ASSERT_TRUE(target.ok()) << target.status();
  int stalls = 0;
  bench::Load load(target->get(),
                   {.documents = {"documents/short"}, .questions = {"Why?"}, .answer_tokens = 2},
                   interrupted_, [&stalls](double, const bench::Measurement&) {
                     if (++stalls == 1) {
                       std::mutex mutex;
                       std::unique_lock lock(mutex);
                       std::condition_variable never;
                       never.wait_for(lock, std::chrono::milliseconds(400));
                     }
                   });
  load.Open(/*rate=*/50, /*seed=*/1, /*most_outstanding=*/1000);
  bench::Measurement m;
  ASSERT_TRUE(load.Run(600, /*requests=*/20, &m).ok());
  EXPECT_EQ(m.answered, 20);
  // The stall begins within a tenth of a second or so; by then about five were due, and the next
  // ones early in it.
  EXPECT_GT(stalls, 0);
  EXPECT_GT(m.ttft.greatest(), 0.25);
  EXPECT_GE(m.latency.greatest(), m.ttft.greatest());
}

TEST_F(BenchTest, WhatTheServerRefusesIsCountedByReason) {
  options_.max_questions = 1;
  Start();
  bench::Options plan = Plan(bench::Mode::kClosed);
  plan.clients = {8};
  plan.requests = 40;
  plan.answer_tokens = 64;
  ASSERT_EQ(Run(plan), 0) << messages_;
  const auto& row = report_["results"][0];
  EXPECT_GT(row["failed"], 0);
  EXPECT_EQ(row["answered"].get<int64_t>() + row["failed"].get<int64_t>(), 40);
  EXPECT_TRUE(row["failures"].contains("QUEUE_FULL")) << row["failures"];
}

TEST_F(BenchTest, InterferenceMeasuresBoth) {
  Start();
  bench::Options plan = Plan(bench::Mode::kInterference);
  plan.readers = 2;
  plan.answer_tokens = 64;  // some of them are not joined to the first
  plan.prefill_tokens = 1500;
  // On a slow machine a longer look, until it has seen tokens come one after the other.
  ASSERT_TRUE(Eventually([&] {
    EXPECT_EQ(Run(plan), 0) << messages_;
    plan.duration_seconds *= 4;
    const auto& run = report_["results"][0];
    return run["idle"]["itl_seconds"]["count"] > 0 && run["busy"]["itl_seconds"]["count"] > 0;
  })) << report_;
  const auto& result = report_["results"][0];
  for (const char* stretch : {"idle", "busy"}) {
    EXPECT_GT(result[stretch]["tokens_in_window"], 0);
    EXPECT_GT(result[stretch]["itl_seconds"]["count"], 0);
  }
  EXPECT_GT(result["itl_p99_ratio"], 0);
  EXPECT_GT(result["text_gap_p99_ratio"], 0);
  EXPECT_NEAR(result["prefill_beside"]["tokens"], 1500, 75);
  EXPECT_NEAR(result["prefill_alone"]["tokens"], 1500, 75);
  EXPECT_EQ(DocumentsLeft(), 0);
}

TEST_F(BenchTest, BatchingComparesThree) {
  Start();
  bench::Options plan = Plan(bench::Mode::kBatching);
  plan.batch = 3;
  plan.document_tokens = 100;
  plan.engine_rate = 1e9;
  ASSERT_EQ(Run(plan), 0) << messages_;
  const auto& result = report_["results"][0];
  for (const char* load : {"one", "one_document", "many_documents"}) {
    EXPECT_GT(result[load]["answered"], 0) << load;
    EXPECT_GT(result[load]["tokens_per_weight_pass"], 0) << load;
  }
  EXPECT_EQ(result["one"]["most_outstanding"], 1);
  EXPECT_EQ(result["many_documents"]["most_outstanding"], 3);
  EXPECT_GT(result["overhead"], 0.9);
}

TEST_F(BenchTest, ColdTakesTheStateFromDiskAfterARestart) {
  Start();
  bench::Options plan = Plan(bench::Mode::kCold);
  plan.keep = true;
  ASSERT_EQ(Run(plan), 0) << messages_;
  EXPECT_EQ(report_["results"][0]["first"]["state_tiers"]["memory"], 1);
  EXPECT_THAT(output_, HasSubstr("still in memory"));
  const std::string document = report_["results"][0]["document"];
  EXPECT_THAT(messages_, HasSubstr("kept " + document));

  Restart();
  bench::Options again = Plan(bench::Mode::kCold);
  again.existing = {document};
  again.prefill_seconds = report_["results"][0]["prefill_seconds"];
  ASSERT_EQ(Run(again), 0) << messages_;
  EXPECT_EQ(report_["results"][0]["first"]["state_tiers"]["disk"], 1) << report_;
  EXPECT_GT(report_["results"][0]["first_ttft_share_of_prefill"], 0);
}

TEST_F(BenchTest, AnInterruptedRunReportsWhatThereWas) {
  Start();
  bench::Options plan = Plan(bench::Mode::kClosed);
  plan.clients = {2, 4};
  plan.duration_seconds = 600;
  // Asked ten times a second while the load runs.
  interrupted_ = [this] { return Metric("longleaf_generated_tokens_total") > 300; };
  ASSERT_EQ(Run(plan), 130) << messages_;
  ASSERT_EQ(report_["results"].size(), 1);
  EXPECT_GT(report_["results"][0]["answered"], 0);
  EXPECT_EQ(report_["complete"], false);
  EXPECT_THAT(output_, HasSubstr("clients"));
  EXPECT_EQ(DocumentsLeft(), 0);
}

TEST_F(BenchTest, ErrorsAreExplained) {
  Start();
  bench::Options plan = Plan(bench::Mode::kClosed);
  plan.existing = {"nowhere"};
  EXPECT_EQ(Run(plan), 1);
  EXPECT_THAT(messages_, HasSubstr("DOCUMENT_NOT_FOUND"));
  plan = Plan(bench::Mode::kClosed);
  plan.document_tokens = 1'000'000;
  EXPECT_EQ(Run(plan), 1);
  EXPECT_THAT(messages_, HasSubstr("context"));
  plan = Plan(bench::Mode::kClosed);
  plan.address = "127.0.0.1:1";
  EXPECT_EQ(Run(plan), 3);
  EXPECT_THAT(messages_, HasSubstr("cannot reach"));
}

}  // namespace
}  // namespace longleaf::service
