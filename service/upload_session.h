// One upload call: text is made durable and tokenised as it arrives, in bounded memory, and can be
// resumed in a later call. No gRPC here; document_service.h feeds it messages.
#ifndef LONGLEAF_SERVICE_UPLOAD_SESSION_H_
#define LONGLEAF_SERVICE_UPLOAD_SESSION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cache_store/store.h"
#include "model/streaming_tokenizer.h"
#include "service/documents.h"
#include "service/metrics.h"
#include "service/options.h"
#include "service/served_model.h"

namespace longleaf::service {

struct UploadRequest {
  std::string id;  // empty: the server chooses
  std::string display_name;
  Labels labels;
  int64_t expire_time_us = 0;
  std::string request_id;
  int64_t write_offset = 0;
  int64_t total_bytes = 0;  // 0: not said
};

// What a session works with; none owned, all must outlive it.
struct UploadContext {
  store::Store* store = nullptr;
  const ServedModel* model = nullptr;
  Metrics* metrics = nullptr;
  const Options* options = nullptr;
};

// Not thread-safe. Every call may block on the disk.
//
// An error of Write or Finish that can never be mended (not UTF-8, too long, empty) also removes
// the document, so that its id is free again. After any other error, or when a session is destroyed
// without Finish, what was committed stays and a new session can go on from there.
class UploadSession {
 public:
  // A new document, or an unfinished one to go on with (same request_id, or its id and a
  // write_offset). INVALID_ARGUMENT, ALREADY_EXISTS, RESOURCE_EXHAUSTED as design.md's table says.
  static absl::StatusOr<std::unique_ptr<UploadSession>> Begin(const UploadContext& context,
                                                              const UploadRequest& request);

  // The same request had been completed before: record() is its result, and nothing is written.
  bool already_complete() const { return already_complete_; }
  const store::DocumentRecord& record() const { return record_; }
  // All of total_bytes has arrived.
  bool has_all() const;

  absl::Status Write(absl::string_view bytes);
  // The text is complete and durable, in state QUEUED.
  absl::StatusOr<store::DocumentRecord> Finish();
  // Commits what has arrived, so that a later session resumes from there.
  absl::Status Suspend();

 private:
  UploadSession(const UploadContext& context, const UploadRequest& request,
                store::DocumentRecord record);
  absl::Status Resume();
  absl::Status Tokenize(absl::string_view bytes);
  // Moves scratch_ to pending_tokens_, within the limit on tokens.
  absl::Status TakeTokens();
  // Writes pending text and the tokens that are final.
  absl::Status Commit();
  // Removes a document that can never be completed; returns `status`.
  absl::Status Discard(absl::Status status);

  const UploadContext context_;
  const int64_t total_bytes_;
  store::DocumentRecord record_;
  bool already_complete_ = false;
  std::unique_ptr<model::StreamingTokenizer> tokenizer_;
  std::string pending_text_;                      // arrived, not yet committed
  std::vector<store::TextToken> pending_tokens_;  // final, not yet committed
  std::vector<model::Token> scratch_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_UPLOAD_SESSION_H_
