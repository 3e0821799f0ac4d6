#include "service/document_service.h"

#include "absl/strings/str_cat.h"
#include "service/document_messages.h"
#include "service/document_streams.h"

namespace longleaf::service {
namespace {

// The record of documents/{id}.
absl::StatusOr<store::DocumentRecord> Find(CallContext* context, const std::string& name) {
  absl::StatusOr<std::string> id = ParseDocumentName(name, "name");
  if (!id.ok()) {
    return id.status();
  }
  return context->documents->Get(*id);
}

// With how far its reading is.
v1::Document Message(CallContext* context, const store::DocumentRecord& record) {
  return ToMessage(record, context->engine->board().Find({kTenant, record.id}));
}

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* DocumentServiceImpl::UploadDocument(
    grpc::CallbackServerContext*, grpc::ByteBuffer* response) {
  return StartUpload(context_, response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* DocumentServiceImpl::ReadDocumentText(
    grpc::CallbackServerContext* call, const grpc::ByteBuffer* request) {
  return StartReadText(context_, call, request);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* DocumentServiceImpl::WatchDocument(
    grpc::CallbackServerContext* call, const grpc::ByteBuffer* request) {
  return StartWatch(context_, call, request);
}

grpc::ServerUnaryReactor* DocumentServiceImpl::QueryUpload(grpc::CallbackServerContext* call,
                                                           const grpc::ByteBuffer* bytes,
                                                           grpc::ByteBuffer* answer) {
  return RunUnary<v1::QueryUploadRequest, v1::QueryUploadResponse>(
      context_, context_->executor, call, bytes, answer,
      [this](const v1::QueryUploadRequest& request,
             v1::QueryUploadResponse* response) -> absl::Status {
        absl::StatusOr<store::DocumentRecord> record = Find(context_, request.name());
        if (!record.ok()) {
          return record.status();
        }
        response->set_committed_bytes(record->text_bytes);
        response->set_complete(record->state != store::DocumentState::kCreating);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* DocumentServiceImpl::GetDocument(grpc::CallbackServerContext* call,
                                                           const grpc::ByteBuffer* bytes,
                                                           grpc::ByteBuffer* answer) {
  return RunUnary<v1::GetDocumentRequest, v1::Document>(
      context_, context_->executor, call, bytes, answer,
      [this](const v1::GetDocumentRequest& request, v1::Document* response) -> absl::Status {
        absl::StatusOr<store::DocumentRecord> record = Find(context_, request.name());
        if (!record.ok()) {
          return record.status();
        }
        *response = Message(context_, *record);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* DocumentServiceImpl::ListDocuments(grpc::CallbackServerContext* call,
                                                             const grpc::ByteBuffer* bytes,
                                                             grpc::ByteBuffer* answer) {
  return RunUnary<v1::ListDocumentsRequest, v1::ListDocumentsResponse>(
      context_, context_->executor, call, bytes, answer,
      [this](const v1::ListDocumentsRequest& request,
             v1::ListDocumentsResponse* response) -> absl::Status {
        absl::StatusOr<store::DocumentPage> page =
            context_->documents->List(request.page_size(), request.page_token());
        if (!page.ok()) {
          return page.status();
        }
        for (const store::DocumentRecord& record : page->documents) {
          *response->add_documents() = Message(context_, record);
        }
        response->set_next_page_token(page->resume_key);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* DocumentServiceImpl::UpdateDocument(grpc::CallbackServerContext* call,
                                                              const grpc::ByteBuffer* bytes,
                                                              grpc::ByteBuffer* answer) {
  return RunUnary<v1::UpdateDocumentRequest, v1::Document>(
      context_, context_->disk, call, bytes, answer,
      [this](const v1::UpdateDocumentRequest& request, v1::Document* response) -> absl::Status {
        absl::StatusOr<std::string> id =
            ParseDocumentName(request.document().name(), "document.name");
        if (!id.ok()) {
          return id.status();
        }
        absl::StatusOr<DocumentChange> change = FromMessage(request);
        if (!change.ok()) {
          return change.status();
        }
        absl::StatusOr<store::DocumentRecord> record = context_->documents->Update(*id, *change);
        if (!record.ok()) {
          return record.status();
        }
        *response = Message(context_, *record);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* DocumentServiceImpl::DeleteDocument(grpc::CallbackServerContext* call,
                                                              const grpc::ByteBuffer* bytes,
                                                              grpc::ByteBuffer* answer) {
  return RunUnary<v1::DeleteDocumentRequest, google::protobuf::Empty>(
      context_, context_->disk, call, bytes, answer,
      [this](const v1::DeleteDocumentRequest& request, google::protobuf::Empty*) -> absl::Status {
        absl::StatusOr<std::string> id = ParseDocumentName(request.name(), "name");
        if (!id.ok()) {
          return id.status();
        }
        return context_->documents->Delete(*id);
      });
}

}  // namespace longleaf::service
