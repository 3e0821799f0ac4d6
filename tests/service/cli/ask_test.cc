// `longleaf ask` with a question: streamed answers, JSON, cancellation, errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/service/cli/ask_fixture.h"

namespace longleaf::service::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(AskTest, PrintsTheAnswerAndNothingElse) {
  const auto result = Run({"ask", "whale", "who", "is", "Ahab?"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "The answer to who is Ahab?\n");
  EXPECT_EQ(result.err, "");
  ASSERT_EQ(requests().size(), 1u);
  EXPECT_EQ(requests()[0].document(), "documents/whale");
  // What was not asked for is left to the server.
  EXPECT_EQ(requests()[0].sampling().ByteSizeLong(), 0u);
  EXPECT_FALSE(requests()[0].allow_partial());
}

TEST_F(AskTest, SendsEverySamplingOption) {
  const auto result = Run({"ask",
                           "documents/whale",
                           "q",
                           "--max-tokens",
                           "7",
                           "--temperature",
                           "0.5",
                           "--top-k",
                           "40",
                           "--top-p",
                           "0.75",
                           "--min-p",
                           "0.125",
                           "--repetition-penalty",
                           "1.5",
                           "--seed",
                           "18446744073709551615",
                           "--stop",
                           "a b",
                           "--stop",
                           "\n",
                           "--logprobs",
                           "0",
                           "--partial",
                           "--evidence",
                           "3"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const v1::AskRequest request = requests().at(0);
  const v1::Sampling& sampling = request.sampling();
  EXPECT_EQ(request.question(), "q");
  EXPECT_EQ(sampling.max_tokens(), 7);
  EXPECT_EQ(sampling.temperature(), 0.5f);
  EXPECT_EQ(sampling.top_k(), 40);
  EXPECT_EQ(sampling.top_p(), 0.75f);
  EXPECT_EQ(sampling.min_p(), 0.125f);
  EXPECT_EQ(sampling.repetition_penalty(), 1.5f);
  EXPECT_EQ(sampling.seed(), 18446744073709551615u);
  EXPECT_THAT(sampling.stop(), ElementsAre("a b", "\n"));
  EXPECT_TRUE(sampling.has_logprobs());
  EXPECT_TRUE(request.allow_partial());
  EXPECT_EQ(request.max_evidence(), 3);
}

TEST_F(AskTest, EndsWithOneLineOfJson) {
  const auto result = Run({"--json", "ask", "whale", "who?", "--evidence", "1"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 1);
  const auto json = nlohmann::json::parse(result.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << result.out;
  const auto expected = nlohmann::json::parse(R"({
    "document": "documents/whale", "question": "who?", "text": " The answer to who?",
    "finish_reason": "stop_string", "state_tier": "disk", "tokens_reused": 12345,
    "tokens_prefilled": 23, "document_tokens": 12345, "document_tokens_visible": 12345,
    "question_tokens": 23, "answer_tokens": 5, "ttft_seconds": 0.875, "queue_seconds": 0.125,
    "restore_seconds": 0.25, "prefill_seconds": 0.5, "decode_seconds": 2.0,
    "total_seconds": 2.875, "seed": 18446744073709551615,
    "evidence": [{"begin_byte": 12034, "end_byte": 12060, "weight": 0.25,
                  "text": "Captain\n Ahab \u001b[31mstood"}]})",
                                              nullptr, false);
  EXPECT_EQ(json, expected) << nlohmann::json::diff(expected, json);
}

TEST_F(AskTest, ShowsEvidence) {
  const auto result = Run({"ask", "whale", "who?", "--evidence", "1"});
  EXPECT_THAT(result.out, HasSubstr("  1. bytes 12,034 to 12,060, weight 25.0%\n"
                                    "     \"Captain Ahab \\x1b[31mstood\"\n"));
}

TEST_F(AskTest, ShowsLogprobs) {
  script_.ask = [](const v1::AskRequest&, grpc::ServerContext*, Writer* writer) {
    v1::AskResponse event;
    event.mutable_text()->set_text("\xc3\xbc");
    for (const char* byte : {"\xc3", "\xbc"}) {
      v1::TokenLogprobs* token = event.mutable_text()->add_logprobs();
      token->mutable_chosen()->set_text(byte);
      token->mutable_chosen()->set_logprob(-0.5);
      token->add_top()->set_text("x");
    }
    writer->Write(event);
    WriteFinished(writer, false);
    return grpc::Status::OK;
  };
  const auto shown = Run({"ask", "whale", "who?", "--logprobs", "1"});
  EXPECT_THAT(shown.out, HasSubstr("  -0.500  '\\xc3'  0.000 'x'\n"));
  const auto json = nlohmann::json::parse(
      Run({"--json", "ask", "whale", "who?", "--logprobs", "1"}).out, nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["text"], "\xc3\xbc");
  ASSERT_EQ(json["logprobs"].size(), 2u);
  EXPECT_EQ(json["logprobs"][1]["top"][0]["text"], "x");
}

TEST_F(AskTest, DisarmsEscapeSequencesOnATerminalOnly) {
  script_.ask = [](const v1::AskRequest&, grpc::ServerContext*, Writer* writer) {
    WriteStarted(writer);
    WriteText(writer, "red \x1b[31m\u009b text");
    WriteFinished(writer, false);
    return grpc::Status::OK;
  };
  ClientProcess client(server_.address(), {"ask", "whale", "q"}, ClientProcess::Streams::kTerminal);
  const auto shown = client.Finish();
  EXPECT_THAT(shown.out, HasSubstr("red \\x1b[31m\\u009b text\r\n"));
  EXPECT_THAT(shown.out,
              HasSubstr("state from disk, 12,345 tokens reused, 23 read; first token after 0.88 s; "
                        "5 tokens at 2.0/s\r\n"));
  EXPECT_EQ(Run({"ask", "whale", "q"}).out, "red \x1b[31m\u009b text\n");
}

TEST_F(AskTest, StreamsTheAnswerAsItComes) {
  std::condition_variable seen;
  bool go_on = false;
  script_.ask = [&](const v1::AskRequest&, grpc::ServerContext*, Writer* writer) {
    WriteStarted(writer);
    WriteText(writer, "Half");
    std::unique_lock lock(mutex_);
    seen.wait(lock, [&] { return go_on; });
    WriteText(writer, " and half");
    WriteFinished(writer, false);
    return grpc::Status::OK;
  };
  ClientProcess client(server_.address(), {"ask", "whale", "q"});
  EXPECT_TRUE(client.WaitFor("Half"));
  {
    const std::lock_guard lock(mutex_);
    go_on = true;
  }
  seen.notify_all();
  EXPECT_EQ(client.Finish().out, "Half and half\n");
}

TEST_F(AskTest, CtrlCCancelsTheCall) {
  std::atomic<bool> cancelled = false;
  script_.ask = [&](const v1::AskRequest&, grpc::ServerContext* context, Writer* writer) {
    WriteStarted(writer);
    // Writes until the client is gone; the transport's own flow control paces it.
    while (!context->IsCancelled()) {
      WriteText(writer, "on and on ");
    }
    cancelled = true;
    return grpc::Status::CANCELLED;
  };
  ClientProcess client(server_.address(), {"ask", "whale", "q"});
  EXPECT_TRUE(client.WaitFor("on and on"));
  client.Interrupt();
  const auto result = client.Finish();
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_EQ(result.err, "longleaf: interrupted\n");
  server_.Stop();  // waits for the handler
  EXPECT_TRUE(cancelled);
}

TEST_F(AskTest, TriesAgainOnlyBeforeTheFirstEvent) {
  std::atomic<int> calls = 0;
  script_.ask = [&](const v1::AskRequest&, grpc::ServerContext*, Writer* writer) {
    if (++calls == 1) {
      return RichStatus(grpc::StatusCode::UNAVAILABLE, "draining", "DRAINING", 0);
    }
    WriteText(writer, "second time");
    WriteFinished(writer, false);
    return grpc::Status::OK;
  };
  EXPECT_EQ(Run({"ask", "whale", "q"}).out, "second time\n");
  EXPECT_EQ(calls, 2);

  calls = 0;
  script_.ask = [&](const v1::AskRequest&, grpc::ServerContext*, Writer* writer) {
    ++calls;
    WriteText(writer, "first ");
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "Socket closed");
  };
  const auto broken = Run({"ask", "whale", "q"});
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(broken.exit_code, 3);
  EXPECT_EQ(broken.out, "first \n");
}

TEST_F(AskTest, ErrorsAreOneLineAndAnExitCode) {
  const std::pair<grpc::Status, int> cases[] = {
      {RichStatus(grpc::StatusCode::FAILED_PRECONDITION, "12 of 90 tokens are read",
                  "DOCUMENT_NOT_ACTIVE"),
       5},
      {RichStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "the queue is full", "QUEUE_FULL", 2), 5},
      {RichStatus(grpc::StatusCode::INVALID_ARGUMENT, "sampling.top_p: wrong", "INVALID_FIELD"), 1},
      {RichStatus(grpc::StatusCode::DATA_LOSS, "the text is damaged", "TEXT_DAMAGED"), 1},
  };
  for (const auto& [status, exit_code] : cases) {
    script_.ask = [&answer = status](const v1::AskRequest&, grpc::ServerContext*, Writer*) {
      return answer;
    };
    const auto result = Run({"ask", "whale", "q"});
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr("longleaf: " + status.error_message()));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1);
  }
}

TEST_F(AskTest, AnAnswerWithoutItsEndIsAnError) {
  script_.ask = [](const v1::AskRequest&, grpc::ServerContext*, Writer* writer) {
    WriteText(writer, "half");
    return grpc::Status::OK;
  };
  const auto result = Run({"--json", "ask", "whale", "q"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
}

TEST_F(AskTest, HonoursItsDeadline) {
  script_.ask = [](const v1::AskRequest&, grpc::ServerContext* context, Writer* writer) {
    WriteStarted(writer);
    while (!context->IsCancelled()) {
      WriteText(writer, "x");
    }
    return grpc::Status::CANCELLED;
  };
  const auto result = Run({"ask", "whale", "q", "--timeout", "300ms"});
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.err, HasSubstr("(DEADLINE_EXCEEDED)"));
}

TEST_F(AskTest, ShowsThatTheStateIsBeingRebuilt) {
  script_.ask = [](const v1::AskRequest&, grpc::ServerContext*, Writer* writer) {
    v1::AskResponse event;
    event.mutable_progress()->set_tokens_total(1000);
    event.mutable_progress()->set_tokens_done(410);
    writer->Write(event);
    WriteStarted(writer);
    WriteText(writer, "done");
    WriteFinished(writer, false);
    return grpc::Status::OK;
  };
  ClientProcess client(server_.address(), {"ask", "whale", "q"}, ClientProcess::Streams::kTerminal);
  const auto result = client.Finish();
  EXPECT_THAT(result.out, HasSubstr("41%  410/1,000 tokens"));
  EXPECT_THAT(result.out, HasSubstr("\r\x1b[Kdone\r\n"));
}

}  // namespace
}  // namespace longleaf::service::cli
