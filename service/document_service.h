// DocumentService on the wire: messages to calls of documents.h and upload_session.h, and back.
#ifndef LONGLEAF_SERVICE_DOCUMENT_SERVICE_H_
#define LONGLEAF_SERVICE_DOCUMENT_SERVICE_H_

#include <atomic>

#include "longleaf/v1/document.grpc.pb.h"
#include "service/call_context.h"

namespace longleaf::service {

namespace v1 = longleaf::v1;

// Every method takes and gives bytes (wire_message.h).
using RawDocumentService = v1::DocumentService::WithRawCallbackMethod_UploadDocument<
    v1::DocumentService::WithRawCallbackMethod_QueryUpload<
        v1::DocumentService::WithRawCallbackMethod_GetDocument<
            v1::DocumentService::WithRawCallbackMethod_ListDocuments<
                v1::DocumentService::WithRawCallbackMethod_UpdateDocument<
                    v1::DocumentService::WithRawCallbackMethod_DeleteDocument<
                        v1::DocumentService::WithRawCallbackMethod_ReadDocumentText<
                            v1::DocumentService::WithRawCallbackMethod_WatchDocument<
                                v1::DocumentService::Service>>>>>>>>;

// Thread-safe; no reaction blocks: the disk and the tokenizer are reached through context.executor.
class DocumentServiceImpl final : public RawDocumentService {
 public:
  explicit DocumentServiceImpl(CallContext* context) : context_(context) {}

  grpc::ServerReadReactor<grpc::ByteBuffer>* UploadDocument(grpc::CallbackServerContext* call,
                                                            grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* QueryUpload(grpc::CallbackServerContext* call,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetDocument(grpc::CallbackServerContext* call,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListDocuments(grpc::CallbackServerContext* call,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* UpdateDocument(grpc::CallbackServerContext* call,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteDocument(grpc::CallbackServerContext* call,
                                           const grpc::ByteBuffer* request,
                                           grpc::ByteBuffer* response) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* ReadDocumentText(
      grpc::CallbackServerContext* call, const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchDocument(
      grpc::CallbackServerContext* call, const grpc::ByteBuffer* request) override;

 private:
  CallContext* const context_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_DOCUMENT_SERVICE_H_
