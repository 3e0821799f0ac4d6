// `longleaf ask` with several questions: from the command line and from a file, JSON, failures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/service/cli/ask_fixture.h"

namespace longleaf::service::cli {
namespace {

using ::testing::HasSubstr;
using BatchWriter = grpc::ServerWriter<v1::BatchAskResponse>;

v1::BatchAskResponse Text(int index, const std::string& text) {
  v1::BatchAskResponse event;
  event.set_index(index);
  event.mutable_text()->set_text(text);
  return event;
}

v1::BatchAskResponse Started(int index) {
  v1::BatchAskResponse event;
  event.set_index(index);
  event.mutable_started()->set_tier(v1::STATE_TIER_MEMORY);
  return event;
}

v1::BatchAskResponse Finished(int index, bool evidence = false) {
  v1::BatchAskResponse event;
  event.set_index(index);
  event.mutable_finished()->set_reason(v1::FINISH_REASON_END_OF_TEXT);
  event.mutable_finished()->mutable_usage()->set_answer_tokens(2);
  if (evidence) {
    event.mutable_finished()->add_evidence()->set_text("a passage");
  }
  return event;
}

v1::BatchAskResponse Failed(int index, const grpc::Status& status) {
  v1::BatchAskResponse event;
  event.set_index(index);
  EXPECT_TRUE(event.mutable_failed()->ParseFromString(status.error_details()));
  return event;
}

class BatchTest : public AskTest {
 protected:
  // Answers all questions, one token of each after the other, the last question first.
  void SetUp() override {
    AskTest::SetUp();
    script_.batch = [this](const v1::BatchAskRequest& request, grpc::ServerContext*,
                           BatchWriter* writer) {
      {
        const std::lock_guard lock(mutex_);
        batches_.push_back(request);
      }
      for (const char* word : {" The", " answer", " to "}) {
        for (int i = request.questions_size() - 1; i >= 0; --i) {
          writer->Write(Text(i, word));
        }
      }
      for (int i = request.questions_size() - 1; i >= 0; --i) {
        writer->Write(Text(i, request.questions(i).question()));
        writer->Write(Finished(i, request.questions(i).max_evidence() > 0));
      }
      return grpc::Status::OK;
    };
  }
  std::vector<v1::BatchAskRequest> batches() {
    const std::lock_guard lock(mutex_);
    return batches_;
  }

  std::vector<v1::BatchAskRequest> batches_;
};

std::vector<nlohmann::json> Lines(const std::string& out) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(out);
  for (std::string line; std::getline(in, line);) {
    lines.push_back(nlohmann::json::parse(line, nullptr, false));
  }
  return lines;
}

TEST_F(BatchTest, PrintsTheAnswersInOrderUnderTheirQuestions) {
  const auto result = Run({"ask", "whale", "who is it?", "where?", "--top-k", "3", "--partial"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out,
            "? who is it?\nThe answer to who is it?\n\n? where?\nThe answer to where?\n");
  EXPECT_EQ(result.err, "");
  ASSERT_EQ(batches().size(), 1u);
  const v1::BatchAskRequest batch = batches()[0];
  EXPECT_EQ(batch.document(), "documents/whale");
  EXPECT_EQ(batch.sampling().top_k(), 3);
  EXPECT_TRUE(batch.allow_partial());
  EXPECT_FALSE(batch.questions(0).has_sampling());
  EXPECT_TRUE(requests().empty()) << "asked one by one";
  // Who quotes one, quotes all.
  EXPECT_THAT(Run({"ask", "whale", "who is it?", "why?"}).out, HasSubstr("\n? why?\n"));
}

TEST_F(BatchTest, ReadsQuestionsFromAFileAndManyOfThemInSeveralCalls) {
  std::string questions = "first?\n\n  second?  \r\n";
  EXPECT_EQ(Run({"ask", "whale", "--questions", "-"}, questions).out,
            "? first?\nThe answer to first?\n\n? second?\nThe answer to second?\n");
  const std::string path = ::testing::TempDir() + "/longleaf-questions.txt";
  {
    FILE* const file = fopen(path.c_str(), "w");
    ASSERT_NE(file, nullptr);
    for (int i = 0; i < 70; ++i) {
      fprintf(file, "number %d?\n", i);
    }
    fclose(file);
  }
  const auto lines = Lines(Run({"--json", "ask", "whale", "--questions", path}).out);
  remove(path.c_str());
  ASSERT_EQ(lines.size(), 70u);
  EXPECT_EQ(lines[0]["index"], 63);  // as they end
  EXPECT_EQ(lines[69]["index"], 64);
  EXPECT_EQ(lines[69]["question"], "number 64?");
  EXPECT_EQ(lines[69]["text"], " The answer to number 64?");
  EXPECT_EQ(lines[69]["finish_reason"], "end_of_text");
  ASSERT_EQ(batches().size(), 3u);
  EXPECT_EQ(batches()[1].questions_size(), 64);
  EXPECT_EQ(batches()[2].questions_size(), 6);
}

TEST_F(BatchTest, WhatCannotBeAskedIsAnErrorOfUsage) {
  EXPECT_EQ(Run({"ask", "whale", "--questions", "/no/such/file"}).exit_code, 2);
  EXPECT_EQ(Run({"ask", "whale", "--questions", "-"}, "\n \n").exit_code, 2);
  EXPECT_EQ(Run({"ask", "whale", "--questions", "-", "who is it?"}).exit_code, 2);
  const auto result = Run({"ask", "whale", "--questions", "-"}, "who?\n\xff\n");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("line 2 is not UTF-8"));
  EXPECT_TRUE(batches().empty());
}

TEST_F(BatchTest, ShowsTheEvidenceOfEach) {
  const auto result = Run({"ask", "whale", "a a", "b b", "--evidence", "1"});
  EXPECT_EQ(batches().at(0).questions(1).max_evidence(), 1);
  const size_t second = result.out.find("? b b");
  ASSERT_NE(second, std::string::npos);
  EXPECT_THAT(result.out.substr(0, second), HasSubstr("\"a passage\""));
  EXPECT_THAT(result.out.substr(second), HasSubstr("\"a passage\""));
}

TEST_F(BatchTest, AQuestionThatFailsIsNamedAndTheOthersAreAnswered) {
  script_.batch = [](const v1::BatchAskRequest&, grpc::ServerContext*, BatchWriter* writer) {
    writer->Write(
        Failed(1, RichStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "no room", "QUEUE_FULL", 2)));
    writer->Write(Text(2, "third"));
    writer->Write(Text(0, "first"));
    writer->Write(Finished(2));
    writer->Write(Finished(0));
    return grpc::Status::OK;
  };
  const auto result = Run({"ask", "whale", "a a", "b b", "c c"});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_EQ(result.out, "? a a\nfirst\n\n? b b\n\n? c c\nthird\n");
  EXPECT_EQ(result.err, "longleaf: question 2: no room; try again in 2.0 s (QUEUE_FULL)\n");

  const auto json = Run({"--json", "ask", "whale", "a a", "b b", "c c"});
  EXPECT_EQ(json.exit_code, 5);
  const auto lines = Lines(json.out);
  ASSERT_EQ(lines.size(), 3u);
  const auto expected = nlohmann::json::parse(
      R"({"index": 1, "document": "documents/whale", "question": "b b", "error": {
          "code": "RESOURCE_EXHAUSTED", "reason": "QUEUE_FULL", "message": "no room",
          "retry_seconds": 2.0}})",
      nullptr, false);
  EXPECT_EQ(lines[0], expected) << lines[0];
  EXPECT_EQ(lines[1]["index"], 2);
  EXPECT_EQ(lines[2]["text"], "first");
}

TEST_F(BatchTest, ACallThatFailsEndsTheRun) {
  std::atomic<int> calls = 0;
  script_.batch = [&calls](const v1::BatchAskRequest&, grpc::ServerContext*, BatchWriter*) {
    ++calls;
    return RichStatus(grpc::StatusCode::NOT_FOUND, "no document documents/whale",
                      "DOCUMENT_NOT_FOUND");
  };
  std::string questions;
  for (int i = 0; i < 130; ++i) {
    questions += "question?\n";
  }
  const auto result = Run({"ask", "whale", "--questions", "-"}, questions);
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_EQ(result.out, "");
  EXPECT_EQ(result.err, "longleaf: no document documents/whale (DOCUMENT_NOT_FOUND)\n");
  EXPECT_EQ(calls, 1);
}

TEST_F(BatchTest, TriesAgainOnlyBeforeTheFirstEventAndKeepsWhatWasAnswered) {
  std::atomic<int> calls = 0;
  script_.batch = [&calls](const v1::BatchAskRequest&, grpc::ServerContext*, BatchWriter* writer) {
    if (++calls == 1) {
      return RichStatus(grpc::StatusCode::UNAVAILABLE, "draining", "DRAINING", 0);
    }
    writer->Write(Text(0, "half"));
    writer->Write(Text(1, "whole"));
    writer->Write(Finished(1));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "Socket closed");
  };
  const auto result = Run({"ask", "whale", "a a", "b b"});
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.out, "? a a\nhalf\n\n? b b\nwhole\n");

  script_.batch = [](const v1::BatchAskRequest&, grpc::ServerContext*, BatchWriter* writer) {
    writer->Write(Text(0, "half"));
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"ask", "whale", "a a", "b b"}).exit_code, 1);
}

TEST_F(BatchTest, StreamsTheAnswerWhoseTurnItIs) {
  std::condition_variable seen;
  int step = 0;
  const auto wait_for = [&](int wanted) {
    std::unique_lock lock(mutex_);
    seen.wait(lock, [&] { return step >= wanted; });
  };
  const auto go_on = [&](int to) {
    {
      const std::lock_guard lock(mutex_);
      step = to;
    }
    seen.notify_all();
  };
  script_.batch = [&](const v1::BatchAskRequest&, grpc::ServerContext*, BatchWriter* writer) {
    writer->Write(Started(0));
    writer->Write(Text(1, "Sec"));
    writer->Write(Text(0, "Half"));
    wait_for(1);
    writer->Write(Text(0, " and half"));
    writer->Write(Finished(0));
    wait_for(2);
    writer->Write(Text(1, "ond"));
    writer->Write(Finished(1));
    return grpc::Status::OK;
  };
  ClientProcess client(server_.address(), {"ask", "whale", "a a", "b b"},
                       ClientProcess::Streams::kTerminal);
  EXPECT_TRUE(client.WaitFor("? a a\r\nHalf"));
  go_on(1);
  EXPECT_TRUE(client.WaitFor("? b b\r\nSec"));  // what had come already
  go_on(2);
  const auto result = client.Finish();
  EXPECT_THAT(result.out, HasSubstr("Half and half\r\n"));
  EXPECT_THAT(result.out, HasSubstr("Second\r\n"));
  EXPECT_THAT(result.out, HasSubstr("2 tokens"));  // the summary of each
}

TEST_F(BatchTest, CtrlCCancelsTheCall) {
  std::atomic<bool> cancelled = false;
  script_.batch = [&](const v1::BatchAskRequest&, grpc::ServerContext* context,
                      BatchWriter* writer) {
    while (!context->IsCancelled()) {
      writer->Write(Text(1, "on and on "));
      writer->Write(Text(0, "on and on "));
    }
    cancelled = true;
    return grpc::Status::CANCELLED;
  };
  ClientProcess client(server_.address(), {"ask", "whale", "a a", "b b"});
  EXPECT_TRUE(client.WaitFor("on and on"));
  client.Interrupt();
  const auto result = client.Finish();
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_EQ(result.err, "longleaf: interrupted\n");
  server_.Stop();  // waits for the handler
  EXPECT_TRUE(cancelled);
}

}  // namespace
}  // namespace longleaf::service::cli
