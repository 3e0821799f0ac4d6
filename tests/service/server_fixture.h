// A whole server in the test's process, on free ports, with the built-in model and a store of its
// own.
#ifndef LONGLEAF_TESTS_SERVICE_SERVER_FIXTURE_H_
#define LONGLEAF_TESTS_SERVICE_SERVER_FIXTURE_H_

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "longleaf/v1/document.grpc.pb.h"
#include "longleaf/v1/model.grpc.pb.h"
#include "longleaf/v1/question.grpc.pb.h"
#include "service/server.h"

namespace longleaf::service {

namespace v1 = longleaf::v1;

// What one Ask call brought.
struct Answer {
  grpc::Status status;
  std::string text;
  std::vector<v1::Progress> progress;
  v1::Started started;
  int started_events = 0;
  v1::Finished finished;
  std::vector<v1::TokenLogprobs> logprobs;
};

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Changes to make before Start.
  Options options_;
  StoreOpener open_store_ = store::Store::Open;
  DeviceLost device_lost_;
  void Start();
  void Stop();  // as SIGTERM does
  void Restart() {
    Stop();
    Start();
  }

  // ---- the contract's calls, the short way
  grpc::Status Upload(const v1::UploadHeader& header, const std::string& text,
                      v1::Document* document, size_t message_bytes = 100'000);
  // Uploads under `id` and waits until it is ACTIVE.
  void UploadAndWait(const std::string& id, const std::string& text);
  // Follows a document until it is ACTIVE or FAILED; the last thing that was said.
  v1::WatchDocumentResponse Watch(const std::string& id);
  Answer Ask(const v1::AskRequest& request);
  Answer Ask(const std::string& id, const std::string& question);
  v1::Document Get(const std::string& id);
  v1::Model GetModel();
  double Metric(const std::string& name_and_labels);

  static std::string DemoDocument();
  // Words enough for `bytes` bytes.
  static std::string Filler(size_t bytes, uint64_t seed = 1);
  static std::string TempDirectory();

  std::unique_ptr<v1::DocumentService::Stub> documents_;
  std::unique_ptr<v1::QuestionService::Stub> questions_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Server> server_;
  std::string directory_;
};

inline v1::UploadHeader Header(const std::string& id) {
  v1::UploadHeader header;
  header.set_document_id(id);
  return header;
}

// Asks again until `condition` holds. What never comes is false after minutes, so that a machine
// with other work, under a sanitizer, is not mistaken for it.
template <typename Condition>
bool Eventually(Condition condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(4);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

// The ErrorInfo of a failed call; empty reason when there is none.
google::rpc::ErrorInfo ErrorInfoOf(const grpc::Status& status);
// Whether the status carries a detail of this type, and which.
template <typename Detail>
bool HasDetail(const grpc::Status& status, Detail* detail) {
  google::rpc::Status message;
  if (!message.ParseFromString(status.error_details())) {
    return false;
  }
  for (const auto& any : message.details()) {
    if (any.UnpackTo(detail)) {
      return true;
    }
  }
  return false;
}

#define EXPECT_ERROR(status, code, expected_reason)                                                \
  do {                                                                                             \
    const grpc::Status& s = (status);                                                              \
    EXPECT_EQ(s.error_code(), grpc::StatusCode::code) << s.error_message();                        \
    EXPECT_EQ(::longleaf::service::ErrorInfoOf(s).reason(), expected_reason) << s.error_message(); \
    EXPECT_EQ(::longleaf::service::ErrorInfoOf(s).domain(), "longleaf");                           \
  } while (false)

}  // namespace longleaf::service

#endif  // LONGLEAF_TESTS_SERVICE_SERVER_FIXTURE_H_
