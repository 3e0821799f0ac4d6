// What every gRPC tool relies on: grpc.health.v1 for each service name, and reflection.

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/service/server_fixture.h"

namespace longleaf::service {
namespace {

// grpc.health.v1 and grpc.reflection.v1alpha have no generated code here: their messages are a
// field or two, and are written and read by hand (protobuf's wire format: a tag, then a value).
std::string StringField(int number, const std::string& value) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(value.size())} + value;
}

// The status of a HealthCheckResponse: 1 SERVING, 2 NOT_SERVING.
int StatusOf(const std::string& response) {
  return response.size() == 2 && response[0] == 0x08 ? response[1] : -1;
}
constexpr int kServing = 1;
constexpr int kNotServing = 2;

grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

std::string ToString(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  for (const grpc::Slice& slice : slices) {
    out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return out;
}

// A call of which the messages are read one after the other.
class BytesCall {
 public:
  BytesCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
            const std::string& request)
      : stub_(channel), stream_(stub_.PrepareCall(&context_, method, &queue_)) {
    stream_->StartCall(this);
    Wait();
    stream_->WriteLast(ToBuffer(request), grpc::WriteOptions(), this);
    Wait();
  }
  ~BytesCall() {
    context_.TryCancel();
    Finish();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  bool Read(std::string* response) {
    grpc::ByteBuffer buffer;
    stream_->Read(&buffer, this);
    if (!Wait()) {
      return false;
    }
    *response = ToString(buffer);
    return true;
  }
  grpc::Status Finish() {
    if (!finished_) {
      finished_ = true;
      stream_->Finish(&status_, this);
      Wait();
    }
    return status_;
  }

 private:
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  grpc::GenericStub stub_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  grpc::Status status_;
  bool finished_ = false;
};

class HealthTest : public ServerTest {
 protected:
  grpc::Status Check(const std::string& service, int* status) {
    BytesCall call(channel_, "/grpc.health.v1.Health/Check", StringField(1, service));
    std::string response;
    if (call.Read(&response)) {
      *status = StatusOf(response);
    }
    return call.Finish();
  }
};

TEST_F(HealthTest, EveryServiceSaysThatItServes) {
  Start();
  for (const char* service : {"", "longleaf.v1.DocumentService", "longleaf.v1.QuestionService",
                              "longleaf.v1.ModelService"}) {
    int status = -1;
    ASSERT_TRUE(Check(service, &status).ok()) << service;
    EXPECT_EQ(status, kServing) << service;
  }
  int status = -1;
  EXPECT_EQ(Check("longleaf.v1.NoService", &status).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(HealthTest, WhoWatchesIsToldThatTheServerDrains) {
  Start();
  for (const char* service : {"", "longleaf.v1.QuestionService"}) {
    SCOPED_TRACE(service);
    if (server_ == nullptr) {
      Start();
    }
    BytesCall watch(channel_, "/grpc.health.v1.Health/Watch", StringField(1, service));
    std::string response;
    ASSERT_TRUE(watch.Read(&response));
    EXPECT_EQ(StatusOf(response), kServing);
    std::thread shutdown([this] { server_->Shutdown(); });
    ASSERT_TRUE(watch.Read(&response));
    EXPECT_EQ(StatusOf(response), kNotServing);
    shutdown.join();
    Stop();
  }
}

TEST_F(HealthTest, ReflectionListsTheServices) {
  Start();
  // ServerReflectionRequest.list_services = 7
  BytesCall call(channel_, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                 StringField(7, "*"));
  std::string response;
  ASSERT_TRUE(call.Read(&response));
  for (const char* service : {"longleaf.v1.DocumentService", "longleaf.v1.QuestionService",
                              "longleaf.v1.ModelService", "grpc.health.v1.Health"}) {
    EXPECT_THAT(response, ::testing::HasSubstr(StringField(1, service)));
  }
}

}  // namespace
}  // namespace longleaf::service
