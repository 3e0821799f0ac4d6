// The server under load: its model, and the documents that are put there and taken away again.
#ifndef LONGLEAF_SERVICE_BENCH_TARGET_H_
#define LONGLEAF_SERVICE_BENCH_TARGET_H_

#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "longleaf/v1/document.grpc.pb.h"
#include "longleaf/v1/model.grpc.pb.h"
#include "longleaf/v1/question.grpc.pb.h"

namespace longleaf::service::bench {

struct TargetOptions {
  std::string address;
  int64_t connections = 1;
  // Asked now and then while a call waits; true ends it with CANCELLED. From any thread.
  std::function<bool()> interrupted;
};

struct UploadedDocument {
  std::string name;
  int64_t tokens = 0;
  int64_t bytes = 0;   // of its text
  double seconds = 0;  // from the upload's first byte until it could be asked
};

// Thread-safe. Errors carry the server's own explanation; UNAVAILABLE is also what a server that
// cannot be reached gives.
class Target {
 public:
  // Connects and asks for the model.
  static absl::StatusOr<std::unique_ptr<Target>> Open(const TargetOptions& options);
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  const v1::Model& model() const { return model_; }
  // Stubs are spread over the connections by `index`.
  v1::QuestionService::Stub& questions(size_t index) {
    return *questions_[index % questions_.size()];
  }

  // Uploads and waits until the document is ACTIVE. It expires by itself after a day, in case that
  // nobody is left to delete it. `progress` (if not empty) is told the tokens read so far.
  using PrefillProgress = std::function<void(int64_t done, int64_t total)>;
  absl::StatusOr<UploadedDocument> Upload(const std::string& id, const std::string& text,
                                          const PrefillProgress& progress);
  // Waits for one that is there already.
  absl::StatusOr<UploadedDocument> Find(const std::string& name, const PrefillProgress& progress);
  absl::Status Delete(const std::string& name);

  // `status` as this program reports it: one line, safe for a terminal.
  absl::Status Explain(const grpc::Status& status) const;

 private:
  explicit Target(const TargetOptions& options) : options_(options) {}
  absl::Status WaitUntilActive(const std::string& name, const PrefillProgress& progress);

  const TargetOptions options_;
  v1::Model model_;
  std::unique_ptr<v1::DocumentService::Stub> documents_;
  std::vector<std::unique_ptr<v1::QuestionService::Stub>> questions_;
};

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_TARGET_H_
