#include "tests/fuzz/served_channel.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <utility>

#include "service/log.h"

namespace longleaf::fuzz {
namespace {

constexpr std::chrono::seconds kStuck(120);

std::string NewDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "longleaf-fuzz-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    Fail("no temporary directory");
  }
  return pattern;
}

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string ToString(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  if (buffer.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) {
      out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
  }
  return out;
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

std::unique_ptr<service::Server> StartServer(const std::string& directory) {
  service::log::Configure("error", "text");
  service::Options options;
  options.listen = "127.0.0.1:0";
  options.metrics_listen = "127.0.0.1:0";
  options.store_path = directory + "/store";
  options.model_path = LONGLEAF_SOURCE_DIR "/model/demo";
  options.threads = 1;
  options.state_memory_bytes = int64_t{256} << 20;
  options.max_document_bytes = 1 << 20;
  options.drain_seconds = 0;
  auto server = service::Server::Start(options);
  if (!server.ok()) {
    Fail("the server does not start: " + server.status().ToString());
  }
  return *std::move(server);
}

}  // namespace

void Fail(const std::string& why) {
  std::fprintf(stderr, "request_fuzz: %s\n", why.c_str());
  std::abort();
}

ServedChannel::ServedChannel()
    : directory_(NewDirectory()),
      server_(StartServer(directory_)),
      channel_(Connect(server_->listen_address())),
      stub_(channel_) {}

ServedChannel::~ServedChannel() {
  channel_.reset();
  server_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string ServedChannel::Metrics() const {
  const std::string& address = server_->metrics_address();
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
  std::string answer;
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0 &&
      write(fd, request.data(), request.size()) == static_cast<ssize_t>(request.size())) {
    char buffer[16384];
    ssize_t got = 0;
    while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
      answer.append(buffer, static_cast<size_t>(got));
    }
  }
  close(fd);
  return answer;
}

RawCall::RawCall(ServedChannel& server, const std::string& method, int deadline_ms)
    : method_(method), has_deadline_(deadline_ms > 0) {
  if (has_deadline_) {
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::milliseconds(deadline_ms));
  }
  stream_ = server.stub().PrepareCall(&context_, method, &queue_);
  stream_->StartCall(this);
  broken_ = !Wait();
}

RawCall::~RawCall() {
  if (!finished_) {
    Finish();
  }
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

bool RawCall::Wait() {
  void* tag = nullptr;
  bool ok = false;
  if (queue_.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + kStuck) !=
      grpc::CompletionQueue::GOT_EVENT) {
    Fail(method_ + " is stuck");
  }
  return ok;
}

void RawCall::Write(const std::string& message) {
  if (!broken_ && !closed_) {
    stream_->Write(ToBuffer(message), this);
    broken_ = !Wait();
  }
}

void RawCall::CloseWrites() {
  if (!broken_ && !closed_) {
    closed_ = true;
    stream_->WritesDone(this);
    broken_ = !Wait();
  }
}

bool RawCall::Read(std::string* message) {
  grpc::ByteBuffer buffer;
  stream_->Read(&buffer, this);
  if (!Wait()) {
    return false;
  }
  *message = ToString(buffer);
  return true;
}

void RawCall::Cancel() {
  cancelled_ = true;
  context_.TryCancel();
}

grpc::Status RawCall::Finish() {
  CloseWrites();
  std::string ignored;
  while (Read(&ignored)) {
  }
  finished_ = true;
  grpc::Status status;
  stream_->Finish(&status, this);
  Wait();
  return status;
}

}  // namespace longleaf::fuzz
