// Between the store's records and the wire's messages for documents.
#ifndef LONGLEAF_SERVICE_DOCUMENT_MESSAGES_H_
#define LONGLEAF_SERVICE_DOCUMENT_MESSAGES_H_

#include <optional>

#include "absl/status/statusor.h"
#include "cache_store/record.h"
#include "longleaf/v1/document.pb.h"
#include "service/documents.h"
#include "service/progress_board.h"
#include "service/upload_session.h"

namespace longleaf::service {

namespace v1 = longleaf::v1;

v1::DocumentState ToMessage(store::DocumentState state);
v1::Progress ToMessage(const Progress& progress);
// `live` is the board's entry while the document is being read.
v1::Document ToMessage(const store::DocumentRecord& record,
                       const std::optional<ProgressBoard::Entry>& live);
// What a record alone says of how far its document has been read.
Progress ProgressOf(const store::DocumentRecord& record);

// INVALID_ARGUMENT naming the field that is wrong.
absl::StatusOr<UploadRequest> FromMessage(const v1::UploadHeader& header);
absl::StatusOr<DocumentChange> FromMessage(const v1::UpdateDocumentRequest& request);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_DOCUMENT_MESSAGES_H_
