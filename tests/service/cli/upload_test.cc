// `longleaf upload`, through broken connections and a restart of the server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <future>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "tests/service/cli/client_process.h"
#include "tests/service/cli/fake_server.h"
#include "tests/service/cli/held_port.h"

namespace longleaf::service::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    text[i] = static_cast<char>('a' + (i * 31 + i / 1000) % 26);
  }
  return text;
}

class UploadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/longleaf_upload_XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    file_ = folder_ + "/Moby Dick.txt";
    server_.emplace(&script_);
  }
  void TearDown() override {
    server_.reset();
    unlink(file_.c_str());
    rmdir(folder_.c_str());
  }
  void WriteFile(const std::string& text) { std::ofstream(file_, std::ios::binary) << text; }
  ClientProcess::Result Run(const std::vector<std::string>& arguments,
                            const std::string& input = "") {
    return RunClient(server_->address(), arguments, input);
  }

  const grpc::Status broken_ = grpc::Status(grpc::StatusCode::UNAVAILABLE, "Socket closed");
  std::string folder_;
  std::string file_;
  FakeServer::Script script_;
  std::optional<FakeServer> server_;
};

TEST_F(UploadTest, StreamsAFile) {
  const std::string text = Pattern(3'000'000);
  WriteFile(text);
  const auto result = Run({"upload", file_, "--id", "whale", "--label", "year=1851", "--label",
                           "a=b=c", "--ttl", "1h30m"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "documents/whale\n");
  EXPECT_THAT(result.err, MatchesRegex("uploaded 3.00 MB in [0-9.]+ m?s\n"));
  const FakeUploads::Upload upload = script_.uploads.Get("documents/whale");
  EXPECT_TRUE(upload.text == text);
  EXPECT_EQ(upload.header.display_name(), "Moby Dick.txt");
  EXPECT_EQ(upload.header.total_bytes(), 3'000'000);
  EXPECT_EQ(upload.header.ttl().seconds(), 5400);
  EXPECT_EQ(upload.header.labels().at("year"), "1851");
  EXPECT_EQ(upload.header.labels().at("a"), "b=c");
  EXPECT_THAT(upload.header.request_id(), SizeIs(36));
  EXPECT_LE(script_.uploads.longest_message(), 1u << 20);
}

TEST_F(UploadTest, NamesADocumentAfterItsFile) {
  WriteFile("Call me Ishmael.");
  const auto first = Run({"--json", "upload", file_});
  const auto second = Run({"--json", "upload", file_, "--name", "The Whale"});
  EXPECT_EQ(first.exit_code, 0);
  EXPECT_EQ(first.err, "");
  const auto json = nlohmann::json::parse(first.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << first.out;
  EXPECT_THAT(json.value("name", ""), MatchesRegex("documents/moby-dick-[a-z0-9]{8}"));
  EXPECT_EQ(json.value("state", ""), "queued");
  EXPECT_EQ(json.value("text_bytes", 0), 16);
  const auto other = nlohmann::json::parse(second.out, nullptr, false);
  EXPECT_NE(other.value("name", ""), json.value("name", ""));
  EXPECT_EQ(other.value("display_name", ""), "The Whale");
}

TEST_F(UploadTest, StreamsStandardInput) {
  const std::string text = Pattern(60'000);
  const auto result = Run({"upload", "-", "--id", "whale"}, text);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const FakeUploads::Upload upload = script_.uploads.Get("documents/whale");
  EXPECT_TRUE(upload.text == text);
  EXPECT_TRUE(upload.complete);
  EXPECT_EQ(upload.header.total_bytes(), 0);
}

TEST_F(UploadTest, UploadsAnEmptyFileForTheServerToJudge) {
  WriteFile("");
  EXPECT_EQ(Run({"upload", file_, "--id", "empty"}).exit_code, 0);
  EXPECT_TRUE(script_.uploads.Get("documents/empty").complete);
}

TEST_F(UploadTest, GoesOnWhereABrokenUploadStands) {
  const std::string text = Pattern(4'000'000);
  WriteFile(text);
  script_.uploads.breaks = {{1'500'000, 1'000'001, broken_}, {3'000'000, 2'222'222, broken_}};
  const auto result = Run({"upload", file_, "--id", "whale"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(script_.uploads.Get("documents/whale").text == text);
  const std::vector<v1::UploadHeader> headers = script_.uploads.headers();
  ASSERT_THAT(headers, SizeIs(3));
  EXPECT_EQ(headers[0].write_offset(), 0);
  EXPECT_EQ(headers[1].write_offset(), 1'000'001);
  EXPECT_EQ(headers[2].write_offset(), 2'222'222);
  EXPECT_EQ(headers[0].request_id(), headers[2].request_id());
}

TEST_F(UploadTest, GoesBackInAPipe) {
  const std::string text = Pattern(50'000);
  script_.uploads.breaks = {{1, 12'345, broken_}};
  const auto result = Run({"upload", "-", "--id", "whale"}, text);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(script_.uploads.Get("documents/whale").text == text);
}

TEST_F(UploadTest, SurvivesARestartOfTheServer) {
  const HeldPort held;  // nobody else gets it between the two
  server_.emplace(&script_, held.port());
  const std::string text = Pattern(8'000'000);
  WriteFile(text);
  std::mutex mutex;
  std::condition_variable reached;
  bool stop_now = false;
  std::condition_variable stopped;
  bool is_stopped = false;
  script_.uploads.on_bytes = [&](size_t bytes) {
    std::unique_lock lock(mutex);
    if (bytes >= 2'000'000 && !is_stopped) {
      stop_now = true;
      reached.notify_all();
      // The stream is cut while the server is in the middle of it.
      stopped.wait(lock, [&] { return is_stopped; });
    }
  };
  ClientProcess client(server_->address(), {"upload", file_, "--id", "whale"});
  {
    std::unique_lock lock(mutex);
    reached.wait(lock, [&] { return stop_now; });
  }
  std::thread stopping([&] { server_->Stop(); });  // waits for the handler above
  {
    const std::lock_guard lock(mutex);
    is_stopped = true;
  }
  stopped.notify_all();
  stopping.join();
  server_.emplace(&script_, held.port());
  const ClientProcess::Result result = client.Finish();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(script_.uploads.Get("documents/whale").text == text);
}

TEST_F(UploadTest, DoesNotTrustAFinishedUploadOfAnother) {
  WriteFile("mine");
  Run({"upload", file_, "--id", "whale"});
  const auto result = Run({"upload", file_, "--id", "whale"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err, "longleaf: already there (DOCUMENT_ALREADY_EXISTS)\n");
}

TEST_F(UploadTest, GoesOnInAnotherRunOfTheSameRequest) {
  const std::string text = Pattern(2'000'000);
  WriteFile(text);
  const grpc::Status refused(grpc::StatusCode::INTERNAL, "disk trouble");
  script_.uploads.breaks = {{1'000'000, 700'000, refused}};
  const std::vector<std::string> command = {"upload", file_, "--id", "whale", "--request-id", "r1"};
  EXPECT_EQ(Run(command).exit_code, 1);
  EXPECT_EQ(Run(command).exit_code, 0);
  EXPECT_EQ(script_.uploads.headers().back().write_offset(), 700'000);
  EXPECT_TRUE(script_.uploads.Get("documents/whale").text == text);
  EXPECT_EQ(Run(command).exit_code, 0);  // once more: the same document
}

TEST_F(UploadTest, DoesNotGoOnWithTheUploadOfAnother) {
  WriteFile(Pattern(2'000'000));
  const grpc::Status refused(grpc::StatusCode::INTERNAL, "disk trouble");
  script_.uploads.breaks = {{1'000'000, 700'000, refused}};
  EXPECT_EQ(Run({"upload", file_, "--id", "whale"}).exit_code, 1);
  const auto result = Run({"upload", file_, "--id", "whale"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("(OFFSET_MISMATCH)"));
}

TEST_F(UploadTest, GivesUpAtItsDeadline) {
  WriteFile(Pattern(2'000'000));
  script_.uploads.breaks.assign(100, {1, 0, broken_});
  const auto result = Run({"upload", file_, "--id", "whale", "--timeout", "2s"});
  // The time passes while the client waits to try again or, on a slow machine, inside a trial.
  if (result.exit_code == 3) {
    EXPECT_THAT(result.err, HasSubstr("longleaf: lost the connection to 127.0.0.1:"));
  } else {
    EXPECT_EQ(result.exit_code, 5);
    EXPECT_THAT(result.err, HasSubstr("longleaf: not done in the time that --timeout gives"));
  }
  EXPECT_THAT(result.err, HasSubstr("to go on where it broke off: longleaf upload '"));
  EXPECT_THAT(result.err, HasSubstr("--id whale --request-id "));
}

TEST_F(UploadTest, StopsAtCtrlC) {
  std::promise<void> began;
  script_.uploads.on_header = [&] { began.set_value(); };
  ClientProcess client(server_->address(), {"upload", "-", "--id", "whale"});
  client.Write("Call me");  // and then nothing: the pipe stays open
  began.get_future().wait();
  client.Interrupt();
  EXPECT_TRUE(client.WaitFor("longleaf: interrupted\n"));
  const ClientProcess::Result result = client.Finish();
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_THAT(result.err, HasSubstr("longleaf: interrupted\n"));
}

TEST_F(UploadTest, WaitsUntilTheModelHasReadIt) {
  WriteFile("Call me Ishmael.");
  int watches = 0;
  script_.watch = [&](const v1::WatchDocumentRequest& request,
                      grpc::ServerWriter<v1::WatchDocumentResponse>* writer) {
    EXPECT_EQ(request.name(), "documents/whale");
    v1::WatchDocumentResponse event;
    event.set_state(v1::DOCUMENT_STATE_PREFILLING);
    event.mutable_progress()->set_tokens_total(1000);
    event.mutable_progress()->set_tokens_done(500);
    event.mutable_progress()->set_tokens_reused(250);
    writer->Write(event);
    if (++watches == 1) {
      return broken_;  // the client comes back
    }
    event.set_state(v1::DOCUMENT_STATE_ACTIVE);
    event.mutable_progress()->set_tokens_done(1000);
    writer->Write(event);
    return grpc::Status::OK;
  };
  script_.get = [](const v1::GetDocumentRequest& request, v1::Document* document) {
    document->set_name(request.name());
    document->set_state(v1::DOCUMENT_STATE_ACTIVE);
    return grpc::Status::OK;
  };
  const auto result = Run({"upload", file_, "--id", "whale", "--wait"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "documents/whale\n");
  EXPECT_EQ(watches, 2);
  EXPECT_THAT(result.err, HasSubstr("documents/whale is ready: 1,000 tokens in "));
  EXPECT_THAT(result.err, HasSubstr(", 250 of them reused\n"));
}

TEST_F(UploadTest, SaysWhyTheModelCouldNotReadIt) {
  WriteFile("Call me Ishmael.");
  script_.watch = [](const v1::WatchDocumentRequest&,
                     grpc::ServerWriter<v1::WatchDocumentResponse>* writer) {
    v1::WatchDocumentResponse event;
    event.set_state(v1::DOCUMENT_STATE_FAILED);
    event.set_failure("too long");
    writer->Write(event);
    return grpc::Status::OK;
  };
  const auto result = Run({"upload", file_, "--id", "whale", "--wait"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err,
              HasSubstr("longleaf: documents/whale cannot be asked: too long (DOCUMENT_FAILED)\n"));
}

TEST_F(UploadTest, ShowsABarOnATerminal) {
  WriteFile(Pattern(40'000'000));
  std::mutex mutex;
  std::condition_variable seen;
  bool go_on = false;
  // The server takes no more until the bar has been seen; flow control holds the client back.
  script_.uploads.on_bytes = [&](size_t bytes) {
    std::unique_lock lock(mutex);
    if (bytes >= 1'000'000) {
      seen.wait(lock, [&] { return go_on; });
    }
  };
  ClientProcess client(server_->address(), {"upload", file_, "--id", "whale"},
                       ClientProcess::Streams::kTerminal);
  EXPECT_TRUE(client.WaitFor(" of 40.0 MB"));
  {
    const std::lock_guard lock(mutex);
    go_on = true;
  }
  seen.notify_all();
  const ClientProcess::Result result = client.Finish();
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_THAT(result.out, HasSubstr("\ruploading  ["));
  EXPECT_THAT(result.out, HasSubstr("\r\x1b[K"));  // it is gone at the end
  EXPECT_THAT(result.out, HasSubstr("uploaded 40.0 MB in "));
  EXPECT_THAT(result.out, HasSubstr("documents/whale\r\n"));
}

TEST_F(UploadTest, LocalErrorsAreUsageErrors) {
  const auto result = Run({"upload", folder_ + "/none"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("/none: No such file or directory"));
  EXPECT_THAT(result.err, Not(HasSubstr("request-id")));
  EXPECT_EQ(Run({"upload"}).exit_code, 2);
  EXPECT_EQ(Run({"upload", "x", "--ttl", "soon"}).exit_code, 2);
}

}  // namespace
}  // namespace longleaf::service::cli
