// A whole server in the fuzzer's process, and raw calls on it.
#ifndef LONGLEAF_TESTS_FUZZ_SERVED_CHANNEL_H_
#define LONGLEAF_TESTS_FUZZ_SERVED_CHANNEL_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "service/server.h"

namespace longleaf::fuzz {

// Ends the process where the fuzzer sees it, saying why.
[[noreturn]] void Fail(const std::string& why);

// The server with the built-in model, on a store in a new directory that goes with it.
class ServedChannel {
 public:
  ServedChannel();
  ~ServedChannel();
  ServedChannel(const ServedChannel&) = delete;
  ServedChannel& operator=(const ServedChannel&) = delete;

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  grpc::GenericStub& stub() { return stub_; }
  // All metrics, one a line.
  std::string Metrics() const;

 private:
  std::string directory_;
  std::unique_ptr<service::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  grpc::GenericStub stub_;
};

// One call of any kind, as bytes. Its operations wait for gRPC; one that takes more than half a
// minute is a finding.
class RawCall {
 public:
  // A deadline of 0: none.
  RawCall(ServedChannel& server, const std::string& method, int deadline_ms);
  ~RawCall();

  const std::string& method() const { return method_; }
  void Write(const std::string& message);  // nothing happens once the call is broken
  void CloseWrites();
  bool Read(std::string* message);  // false: no more
  void Cancel();
  // Reads what is left, and ends. Once.
  grpc::Status Finish();

  bool cancelled() const { return cancelled_; }
  bool has_deadline() const { return has_deadline_; }
  bool finished() const { return finished_; }

 private:
  bool Wait();

  const std::string method_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  bool has_deadline_ = false;
  bool cancelled_ = false;
  bool broken_ = false;
  bool closed_ = false;
  bool finished_ = false;
};

}  // namespace longleaf::fuzz

#endif  // LONGLEAF_TESTS_FUZZ_SERVED_CHANNEL_H_
