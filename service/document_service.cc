#include "service/document_service.h"

#include "absl/strings/str_cat.h"
#include "service/document_messages.h"
#include "service/document_streams.h"

namespace longleaf::service {

grpc::ServerReadReactor<v1::UploadDocumentRequest>* DocumentServiceImpl::UploadDocument(
    grpc::CallbackServerContext* call, v1::Document* response) {
  return StartUpload(context_, call, response);
}

grpc::ServerWriteReactor<v1::ReadDocumentTextResponse>* DocumentServiceImpl::ReadDocumentText(
    grpc::CallbackServerContext*, const v1::ReadDocumentTextRequest* request) {
  return StartReadText(context_, request);
}

grpc::ServerWriteReactor<v1::WatchDocumentResponse>* DocumentServiceImpl::WatchDocument(
    grpc::CallbackServerContext*, const v1::WatchDocumentRequest* request) {
  return StartWatch(context_, request);
}

grpc::ServerUnaryReactor* DocumentServiceImpl::QueryUpload(grpc::CallbackServerContext* call,
                                                           const v1::QueryUploadRequest* request,
                                                           v1::QueryUploadResponse* response) {
  return RunUnary(context_, context_->executor, call, [this, request, response]() -> absl::Status {
    absl::StatusOr<std::string> id = ParseDocumentName(request->name(), "name");
    if (!id.ok()) {
      return id.status();
    }
    absl::StatusOr<store::DocumentRecord> record = context_->documents->Get(*id);
    if (!record.ok()) {
      return record.status();
    }
    response->set_committed_bytes(record->text_bytes);
    response->set_complete(record->state != store::DocumentState::kCreating);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* DocumentServiceImpl::GetDocument(grpc::CallbackServerContext* call,
                                                           const v1::GetDocumentRequest* request,
                                                           v1::Document* response) {
  return RunUnary(context_, context_->executor, call, [this, request, response]() -> absl::Status {
    absl::StatusOr<std::string> id = ParseDocumentName(request->name(), "name");
    if (!id.ok()) {
      return id.status();
    }
    absl::StatusOr<store::DocumentRecord> record = context_->documents->Get(*id);
    if (!record.ok()) {
      return record.status();
    }
    *response = ToMessage(*record, context_->engine->board().Find({kTenant, *id}));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* DocumentServiceImpl::ListDocuments(
    grpc::CallbackServerContext* call, const v1::ListDocumentsRequest* request,
    v1::ListDocumentsResponse* response) {
  return RunUnary(context_, context_->executor, call, [this, request, response]() -> absl::Status {
    absl::StatusOr<store::DocumentPage> page =
        context_->documents->List(request->page_size(), request->page_token());
    if (!page.ok()) {
      return page.status();
    }
    for (const store::DocumentRecord& record : page->documents) {
      *response->add_documents() =
          ToMessage(record, context_->engine->board().Find({kTenant, record.id}));
    }
    response->set_next_page_token(page->resume_key);
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* DocumentServiceImpl::UpdateDocument(
    grpc::CallbackServerContext* call, const v1::UpdateDocumentRequest* request,
    v1::Document* response) {
  return RunUnary(context_, context_->disk, call, [this, request, response]() -> absl::Status {
    absl::StatusOr<std::string> id = ParseDocumentName(request->document().name(), "document.name");
    if (!id.ok()) {
      return id.status();
    }
    absl::StatusOr<DocumentChange> change = FromMessage(*request);
    if (!change.ok()) {
      return change.status();
    }
    absl::StatusOr<store::DocumentRecord> record = context_->documents->Update(*id, *change);
    if (!record.ok()) {
      return record.status();
    }
    *response = ToMessage(*record, context_->engine->board().Find({kTenant, *id}));
    return absl::OkStatus();
  });
}

grpc::ServerUnaryReactor* DocumentServiceImpl::DeleteDocument(
    grpc::CallbackServerContext* call, const v1::DeleteDocumentRequest* request,
    google::protobuf::Empty*) {
  return RunUnary(context_, context_->disk, call, [this, request]() -> absl::Status {
    absl::StatusOr<std::string> id = ParseDocumentName(request->name(), "name");
    if (!id.ok()) {
      return id.status();
    }
    return context_->documents->Delete(*id);
  });
}

}  // namespace longleaf::service
