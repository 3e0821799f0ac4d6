// The service's calls, blocking, for a test client: one channel of its own, one method a call.
#ifndef LONGLEAF_TESTS_SOAK_CALLS_H_
#define LONGLEAF_TESTS_SOAK_CALLS_H_

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "longleaf/v1/document.grpc.pb.h"
#include "longleaf/v1/model.grpc.pb.h"
#include "longleaf/v1/question.grpc.pb.h"

namespace longleaf::soak {

namespace v1 = longleaf::v1;

// How an upload call ends.
enum class UploadEnd {
  kFinish,      // finish_write
  kTotalBytes,  // total_bytes says where the end is
  kHalfClosed,  // the stream is closed in the middle: the server says how much it keeps
  kBrokenOff,   // cancelled in the middle
};

struct UploadSpec {
  v1::UploadHeader header;
  std::string_view text;  // the whole; what lies before header.write_offset is not sent
  size_t message_bytes = 4096;
  UploadEnd end = UploadEnd::kFinish;
  size_t stop_at = 0;                     // where in the text the last two end
  std::function<void()> before_breaking;  // runs before kBrokenOff cancels
};

struct WatchResult {
  v1::WatchDocumentResponse last;
  int64_t messages = 0;
  bool went_back = false;  // tokens_done became less
};

struct AskSpec {
  v1::AskRequest request;
  int64_t deadline_ms = 0;          // 0: the usual one
  int64_t cancel_after = -1;        // events; -1: never
  std::function<void()> meanwhile;  // runs once the call has been started
};

struct AskResult {
  std::string text;
  std::vector<int32_t> tokens;  // as logprobs name them
  std::vector<float> margins;   // first to second, when logprobs >= 2
  v1::Started started;
  v1::Finished finished;
  bool has_started = false;
  bool has_finished = false;
  bool out_of_order = false;  // progress* started text* finished
};

// Every call has a deadline far beyond what it may take. Not thread-safe.
class Calls {
 public:
  explicit Calls(const std::string& address);

  grpc::Status Upload(const UploadSpec& spec, v1::Document* document);
  grpc::Status Query(const std::string& id, v1::QueryUploadResponse* response);
  grpc::Status Get(const std::string& id, v1::Document* document);
  grpc::Status List(int32_t page_size, const std::string& page_token,
                    v1::ListDocumentsResponse* response);
  grpc::Status Update(const v1::UpdateDocumentRequest& request, v1::Document* document);
  grpc::Status Delete(const std::string& id);
  grpc::Status ReadText(const std::string& id, int64_t offset, int64_t limit, std::string* text);
  grpc::Status Watch(const std::string& id, WatchResult* result);
  grpc::Status Ask(const AskSpec& spec, AskResult* result);

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::DocumentService::Stub> documents_;
  std::unique_ptr<v1::QuestionService::Stub> questions_;
};

// ErrorInfo's reason; empty without one.
std::string ReasonOf(const grpc::Status& status);
// ErrorInfo's metadata of that key; empty without one.
std::string MetadataOf(const grpc::Status& status, const std::string& key);
// "CODE reason: message" for people.
std::string Describe(const grpc::Status& status);

}  // namespace longleaf::soak

#endif  // LONGLEAF_TESTS_SOAK_CALLS_H_
