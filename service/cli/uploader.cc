#include "service/cli/uploader.h"

#include <utility>

#include "service/cli/names.h"
#include "service/cli/retry.h"
#include "service/cli/status_text.h"

namespace longleaf::service::cli {
namespace {

constexpr int kMostTries = 9;  // half a minute or so without any byte made durable
constexpr absl::Duration kQueryTimeout = absl::Seconds(10);

// The server still counts bytes of the stream that broke: what it said a moment ago is outdated.
bool IsOutdatedOffset(const grpc::Status& status) {
  return DecodeFailure(status).reason == "OFFSET_MISMATCH";
}

}  // namespace

Uploader::Uploader(Session& session, const v1::UploadHeader& header, UploadSource& source,
                   std::function<void(int64_t)> progress)
    : session_(session), header_(header), source_(source), progress_(std::move(progress)) {
  if (source_.total().has_value()) {
    header_.set_total_bytes(*source_.total());
  }
}

grpc::Status Uploader::Run(bool ask_first, v1::Document* document) {
  const bool reached = session_.Reached();
  int64_t offset = 0;
  bool resumed = ask_first;
  if (ask_first) {
    if (const grpc::Status status = QueryOffset(&offset); !status.ok()) {
      return status;
    }
  }
  Retry retry(kMostTries);
  for (;;) {
    const grpc::Status status = Attempt(offset, document);
    if (status.ok() || !local_error_.ok() || !reached) {
      return status;
    }
    grpc::Status cause = resumed && IsOutdatedOffset(status)
                             ? grpc::Status(grpc::StatusCode::UNAVAILABLE, status.error_message())
                             : status;
    int64_t committed = 0;
    do {
      if (!retry.Again(cause, session_.deadline(), &session_.interrupt())) {
        return status;
      }
      cause = QueryOffset(&committed);
      if (cause.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
        cause = grpc::Status(grpc::StatusCode::UNAVAILABLE, cause.error_message());
      }
    } while (!cause.ok());
    if (committed > offset) {
      retry.Reset();
    }
    offset = committed;
    resumed = true;
  }
}

grpc::Status Uploader::QueryOffset(int64_t* offset) {
  Call call(session_, kQueryTimeout);
  v1::QueryUploadRequest request;
  request.set_name(DocumentName(header_.document_id()));
  v1::QueryUploadResponse response;
  const grpc::Status status = session_.documents().QueryUpload(call.context(), request, &response);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND) {
    *offset = 0;
    return grpc::Status::OK;
  }
  // Also for a complete upload: sending its header again, with nothing after it, returns the
  // document if it is ours, and ALREADY_EXISTS if not.
  *offset = response.committed_bytes();
  return status;
}

grpc::Status Uploader::Attempt(int64_t offset, v1::Document* document) {
  local_error_ = source_.Seek(offset);
  absl::StatusOr<std::string> piece;
  if (local_error_.ok()) {
    piece = source_.Read();
    local_error_ = piece.status();
  }
  if (!local_error_.ok()) {
    return grpc::Status(grpc::StatusCode::ABORTED, "");
  }
  progress_(offset);

  Call call(session_);
  const auto stream = session_.documents().UploadDocument(call.context(), document);
  v1::UploadDocumentRequest message;
  header_.set_write_offset(offset);
  *message.mutable_header() = header_;
  message.set_finish_write(piece->empty());
  bool open = stream->Write(message);
  began_ = began_ || open;
  // One piece is read ahead, so that the last one can say that it is the last.
  while (open && !piece->empty()) {
    absl::StatusOr<std::string> next = source_.Read();
    if (!next.ok()) {
      local_error_ = next.status();
      call.context()->TryCancel();
      break;
    }
    offset += static_cast<int64_t>(piece->size());
    message.Clear();
    message.set_chunk(*std::move(piece));
    message.set_finish_write(next->empty());
    open = stream->Write(message);
    progress_(offset);
    piece = std::move(next);
  }
  // A write that fails means that the server has already answered: Finish tells what.
  stream->WritesDone();
  return stream->Finish();
}

}  // namespace longleaf::service::cli
