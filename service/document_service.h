// DocumentService on the wire: messages to calls of documents.h and upload_session.h, and back.
#ifndef LONGLEAF_SERVICE_DOCUMENT_SERVICE_H_
#define LONGLEAF_SERVICE_DOCUMENT_SERVICE_H_

#include <atomic>

#include "longleaf/v1/document.grpc.pb.h"
#include "service/call_context.h"

namespace longleaf::service {

// Thread-safe; no reaction blocks: the disk and the tokenizer are reached through context.executor.
class DocumentServiceImpl final : public longleaf::v1::DocumentService::CallbackService {
 public:
  explicit DocumentServiceImpl(CallContext* context) : context_(context) {}

  grpc::ServerReadReactor<v1::UploadDocumentRequest>* UploadDocument(
      grpc::CallbackServerContext* call, v1::Document* response) override;
  grpc::ServerUnaryReactor* QueryUpload(grpc::CallbackServerContext* call,
                                        const v1::QueryUploadRequest* request,
                                        v1::QueryUploadResponse* response) override;
  grpc::ServerUnaryReactor* GetDocument(grpc::CallbackServerContext* call,
                                        const v1::GetDocumentRequest* request,
                                        v1::Document* response) override;
  grpc::ServerUnaryReactor* ListDocuments(grpc::CallbackServerContext* call,
                                          const v1::ListDocumentsRequest* request,
                                          v1::ListDocumentsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateDocument(grpc::CallbackServerContext* call,
                                           const v1::UpdateDocumentRequest* request,
                                           v1::Document* response) override;
  grpc::ServerUnaryReactor* DeleteDocument(grpc::CallbackServerContext* call,
                                           const v1::DeleteDocumentRequest* request,
                                           google::protobuf::Empty* response) override;
  grpc::ServerWriteReactor<v1::ReadDocumentTextResponse>* ReadDocumentText(
      grpc::CallbackServerContext* call, const v1::ReadDocumentTextRequest* request) override;
  grpc::ServerWriteReactor<v1::WatchDocumentResponse>* WatchDocument(
      grpc::CallbackServerContext* call, const v1::WatchDocumentRequest* request) override;

 private:
  CallContext* const context_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_DOCUMENT_SERVICE_H_
