#include "tests/service/server_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace longleaf::service {
namespace {

// One HTTP GET of /metrics.
std::string Scrape(const std::string& address) {
  const int port = std::stoi(address.substr(address.rfind(':') + 1));
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0) {
    const std::string request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    char buffer[65536];
    ssize_t got = 0;
    while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
      answer.append(buffer, static_cast<size_t>(got));
    }
  }
  close(fd);
  return answer;
}

}  // namespace

void ServerTest::SetUp() {
  directory_ = TempDirectory();
  options_.listen = "127.0.0.1:0";
  options_.metrics_listen = "127.0.0.1:0";
  options_.store_path = directory_ + "/store";
  options_.model_path = LONGLEAF_SOURCE_DIR "/model/demo";
  options_.device = "cpu";
  // Where batches and restarts must give the very same text, rounding may not decide.
  options_.weights = "f32";
  options_.state_dtype = "f32";
  options_.threads = 2;
  options_.state_memory_bytes = int64_t{1} << 30;
  options_.drain_seconds = 5;
}

void ServerTest::TearDown() {
  Stop();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void ServerTest::Start() {
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(options_, open_store_, device_lost_);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  grpc::ChannelArguments arguments;
  arguments.SetInt("longleaf.test", rand());  // no sharing of connections with other channels
  channel_ = grpc::CreateCustomChannel(server_->listen_address(),
                                       grpc::InsecureChannelCredentials(), arguments);
  documents_ = v1::DocumentService::NewStub(channel_);
  questions_ = v1::QuestionService::NewStub(channel_);
  models_ = v1::ModelService::NewStub(channel_);
}

void ServerTest::Stop() {
  if (server_ != nullptr) {
    // An idle channel notices the server's GOAWAY late, and the server waits for it.
    documents_.reset();
    questions_.reset();
    models_.reset();
    channel_.reset();
    server_->Shutdown();
    server_.reset();
  }
}

grpc::Status ServerTest::Upload(const v1::UploadHeader& header, const std::string& text,
                                v1::Document* document, size_t message_bytes) {
  grpc::ClientContext context;
  auto writer = documents_->UploadDocument(&context, document);
  v1::UploadDocumentRequest request;
  *request.mutable_header() = header;
  bool open = writer->Write(request);
  const size_t begin = static_cast<size_t>(header.write_offset());
  for (size_t at = begin; open && at < text.size(); at += message_bytes) {
    request.set_chunk(text.substr(at, message_bytes));
    open = writer->Write(request);
  }
  if (open) {
    request.Clear();
    request.set_finish_write(true);
    writer->Write(request);
  }
  writer->WritesDone();
  return writer->Finish();
}

void ServerTest::UploadAndWait(const std::string& id, const std::string& text) {
  v1::UploadHeader header;
  header.set_document_id(id);
  v1::Document document;
  const grpc::Status status = Upload(header, text, &document);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(Watch(id).state(), v1::DOCUMENT_STATE_ACTIVE);
}

v1::WatchDocumentResponse ServerTest::Watch(const std::string& id) {
  grpc::ClientContext context;
  v1::WatchDocumentRequest request;
  request.set_name("documents/" + id);
  auto reader = documents_->WatchDocument(&context, request);
  v1::WatchDocumentResponse last;
  v1::WatchDocumentResponse next;
  while (reader->Read(&next)) {
    EXPECT_GE(next.progress().tokens_done(), last.progress().tokens_done());
    last = next;
  }
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return last;
}

Answer ServerTest::Ask(const v1::AskRequest& request) {
  grpc::ClientContext context;
  Answer answer;
  auto reader = questions_->Ask(&context, request);
  v1::AskResponse event;
  while (reader->Read(&event)) {
    switch (event.event_case()) {
      case v1::AskResponse::kProgress:
        answer.progress.push_back(event.progress());
        break;
      case v1::AskResponse::kStarted:
        answer.started = event.started();
        ++answer.started_events;
        break;
      case v1::AskResponse::kText:
        answer.text += event.text().text();
        for (const auto& token : event.text().logprobs()) {
          answer.logprobs.push_back(token);
        }
        break;
      case v1::AskResponse::kFinished:
        answer.finished = event.finished();
        break;
      case v1::AskResponse::EVENT_NOT_SET:
        ADD_FAILURE() << "an event without content";
    }
  }
  answer.status = reader->Finish();
  return answer;
}

Answer ServerTest::Ask(const std::string& id, const std::string& question) {
  v1::AskRequest request;
  request.set_document("documents/" + id);
  request.set_question(question);
  return Ask(request);
}

v1::Document ServerTest::Get(const std::string& id) {
  grpc::ClientContext context;
  v1::GetDocumentRequest request;
  request.set_name("documents/" + id);
  v1::Document document;
  const grpc::Status status = documents_->GetDocument(&context, request, &document);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return document;
}

v1::Model ServerTest::GetModel() {
  grpc::ClientContext context;
  v1::Model model;
  const grpc::Status status = models_->GetModel(&context, v1::GetModelRequest(), &model);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return model;
}

double ServerTest::Metric(const std::string& name_and_labels) {
  std::istringstream lines(Scrape(server_->metrics_address()));
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind(name_and_labels + " ", 0) == 0) {
      return std::stod(line.substr(name_and_labels.size() + 1));
    }
  }
  ADD_FAILURE() << "no metric " << name_and_labels;
  return -1;
}

std::string ServerTest::DemoDocument() {
  std::ifstream file(LONGLEAF_SOURCE_DIR "/model/demo/document.txt", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string ServerTest::Filler(size_t bytes, uint64_t seed) {
  static constexpr const char* kWords[] = {"river", "the",  "mill",  "stood", "a",    "long",
                                           "road",  "and",  "house", "water", "over", "hill",
                                           "they",  "went", "by",    "night", "to",   "town"};
  std::string text;
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  while (text.size() < bytes) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    text += kWords[(state >> 33) % std::size(kWords)];
    text += (state >> 40) % 12 == 0 ? ". " : " ";
  }
  text.resize(bytes);
  return text;
}

std::string ServerTest::TempDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "longleaf-test-XXXXXX").string();
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  return pattern;
}

google::rpc::ErrorInfo ErrorInfoOf(const grpc::Status& status) {
  google::rpc::ErrorInfo info;
  HasDetail(status, &info);
  return info;
}

}  // namespace longleaf::service
