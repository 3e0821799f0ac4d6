// Brings one text to the server, through broken connections and restarts of the server.
#ifndef LONGLEAF_SERVICE_CLI_UPLOADER_H_
#define LONGLEAF_SERVICE_CLI_UPLOADER_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "longleaf/v1/document.pb.h"
#include "service/cli/session.h"
#include "service/cli/upload_source.h"

namespace longleaf::service::cli {

class Uploader {
 public:
  // `header` has a document_id and a request_id; write_offset and total_bytes are set here.
  // `progress` is told how many bytes were handed to the connection. All outlive the uploader.
  Uploader(Session& session, const v1::UploadHeader& header, UploadSource& source,
           std::function<void(int64_t)> progress);

  // Uploads all of the source. `ask_first`: an earlier run may have sent a part of this request
  // already, so the server is asked where to go on. After a transport failure, and when the server
  // says UNAVAILABLE, goes on where QueryUpload says, until several tries in a row have committed
  // nothing. Not OK: either `local_error()` says why, or the status does.
  grpc::Status Run(bool ask_first, v1::Document* document);

  // OK unless the source failed.
  const absl::Status& local_error() const { return local_error_; }
  // Whether the server may hold a part of the upload.
  bool began() const { return began_; }

 private:
  // One stream, from `offset` to the end.
  grpc::Status Attempt(int64_t offset, v1::Document* document);
  // Where to go on. OK with 0 for an upload that the server does not know.
  grpc::Status QueryOffset(int64_t* offset);

  Session& session_;
  v1::UploadHeader header_;
  UploadSource& source_;
  const std::function<void(int64_t)> progress_;
  absl::Status local_error_;
  bool began_ = false;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_UPLOADER_H_
