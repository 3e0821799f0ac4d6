// `longleaf ask` without a question: from a pipe, and the prompt on a terminal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/service/cli/ask_fixture.h"

namespace longleaf::service::cli {
namespace {

using ::testing::HasSubstr;

TEST_F(AskTest, ReadsQuestionsFromAPipe) {
  const auto result = Run({"ask", "whale"}, "who?\r\n  where?  \nwhen?");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "The answer to who?\nThe answer to where?\nThe answer to when?\n");
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(Run({"ask", "whale"}, "who?\n\nwhere?\n").out, "The answer to who?\n");
  EXPECT_EQ(Run({"ask", "whale"}, "/quit\nwhere?\n").out, "");
  EXPECT_EQ(Run({"ask", "whale"}, "\xff\n").exit_code, 2);
}

TEST_F(AskTest, APipeEndsAtTheFirstError) {
  script_.ask = [](const v1::AskRequest&, grpc::ServerContext*, Writer*) {
    return RichStatus(grpc::StatusCode::NOT_FOUND, "no document documents/whale",
                      "DOCUMENT_NOT_FOUND");
  };
  const auto result = Run({"ask", "whale"}, "who?\nwhere?\n");
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_EQ(result.err, "longleaf: no document documents/whale (DOCUMENT_NOT_FOUND)\n");
}

TEST_F(AskTest, OpensAPromptOnATerminal) {
  ClientProcess client(server_.address(), {"ask", "whale"}, ClientProcess::Streams::kTerminal);
  EXPECT_TRUE(client.WaitFor("? "));
  client.Write("who?\n");
  EXPECT_TRUE(client.WaitFor("The answer to who?\r\n"));
  client.Write("where?\n");
  EXPECT_TRUE(client.WaitFor("The answer to where?\r\n"));
  client.Write("\n");
  const auto result = client.Finish();
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_THAT(result.out, HasSubstr("Asking Moby\\x1b[2JDick, 12,345 tokens."));
}

TEST_F(AskTest, CtrlCAtThePromptStopsTheAnswerThenTheProgram) {
  script_.ask = [](const v1::AskRequest& request, grpc::ServerContext* context, Writer* writer) {
    WriteStarted(writer);
    while (request.question() == "endless?" && !context->IsCancelled()) {
      WriteText(writer, "on and on ");
    }
    WriteText(writer, "short");
    WriteFinished(writer, false);
    return grpc::Status::OK;
  };
  ClientProcess client(server_.address(), {"ask", "whale"}, ClientProcess::Streams::kTerminal);
  EXPECT_TRUE(client.WaitFor("? "));
  client.Write("endless?\n");
  EXPECT_TRUE(client.WaitFor("on and on"));
  client.Write("\x03");
  EXPECT_TRUE(client.WaitFor("longleaf: interrupted\r\n\r\n? "));
  client.Write("another?\n");
  EXPECT_TRUE(client.WaitFor("short\r\n"));
  EXPECT_TRUE(client.WaitFor("2.0/s\r\n\r\n? "));  // the prompt is there again
  client.Write("\x03");
  EXPECT_EQ(client.Finish().exit_code, 130);
}

}  // namespace
}  // namespace longleaf::service::cli
