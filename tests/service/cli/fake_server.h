// The services of the contract, scripted: each method does what the test says, else UNIMPLEMENTED.
// Uploads are real enough to be broken and resumed.
#ifndef LONGLEAF_TESTS_SERVICE_CLI_FAKE_SERVER_H_
#define LONGLEAF_TESTS_SERVICE_CLI_FAKE_SERVER_H_

#include <grpcpp/server.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "longleaf/v1/document.grpc.pb.h"
#include "longleaf/v1/model.grpc.pb.h"
#include "longleaf/v1/question.grpc.pb.h"

namespace longleaf::service::cli {

// A status with ErrorInfo and, if not negative, RetryInfo, as the server makes them.
grpc::Status RichStatus(grpc::StatusCode code, const std::string& message,
                        const std::string& reason, double retry_seconds = -1);

// Uploads in memory. Thread-safe.
class FakeUploads {
 public:
  struct Upload {
    v1::UploadHeader header;
    std::string text;
    bool complete = false;
  };
  using Reader = grpc::ServerReader<v1::UploadDocumentRequest>;

  // Breaks the n-th stream (from 0) once it has brought that many bytes, with that status; of the
  // bytes in the last message only `keep` in all count as committed.
  struct Break {
    size_t after_bytes;
    size_t keep;
    grpc::Status status;
  };
  std::vector<Break> breaks;             // set before the first call
  std::function<void()> on_header;       // called when a stream was accepted
  std::function<void(size_t)> on_bytes;  // called with the bytes of a document so far

  grpc::Status Receive(Reader* reader, v1::Document* response);
  grpc::Status Query(const v1::QueryUploadRequest& request, v1::QueryUploadResponse* response);

  Upload Get(const std::string& name);
  std::vector<v1::UploadHeader> headers();  // of every stream
  size_t longest_message();

 private:
  std::mutex mutex_;
  std::map<std::string, Upload> uploads_;  // by name
  std::vector<v1::UploadHeader> headers_;
  size_t longest_message_ = 0;
};

class FakeServer {
 public:
  struct Script {
    FakeUploads uploads;
    std::function<grpc::Status(const v1::AskRequest&, grpc::ServerContext*,
                               grpc::ServerWriter<v1::AskResponse>*)>
        ask;
    std::function<grpc::Status(const v1::BatchAskRequest&, grpc::ServerContext*,
                               grpc::ServerWriter<v1::BatchAskResponse>*)>
        batch;
    std::function<grpc::Status(const v1::WatchDocumentRequest&,
                               grpc::ServerWriter<v1::WatchDocumentResponse>*)>
        watch;
    std::function<grpc::Status(const v1::ReadDocumentTextRequest&,
                               grpc::ServerWriter<v1::ReadDocumentTextResponse>*)>
        text;
    std::function<grpc::Status(const v1::GetDocumentRequest&, v1::Document*)> get;
    std::function<grpc::Status(const v1::ListDocumentsRequest&, v1::ListDocumentsResponse*)> list;
    std::function<grpc::Status(const v1::UpdateDocumentRequest&, v1::Document*)> update;
    std::function<grpc::Status(const v1::DeleteDocumentRequest&)> remove;
    std::function<grpc::Status(v1::Model*)> model;
  };

  // On a free port of the loopback; `port` other than 0 asks for that one, for a restart.
  explicit FakeServer(Script* script, int port = 0);
  ~FakeServer();

  // Ends all connections at once.
  void Stop();
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_TESTS_SERVICE_CLI_FAKE_SERVER_H_
