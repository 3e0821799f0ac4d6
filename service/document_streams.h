// The streaming calls of DocumentService, one object a call. Each lives until gRPC is done with it.
#ifndef LONGLEAF_SERVICE_DOCUMENT_STREAMS_H_
#define LONGLEAF_SERVICE_DOCUMENT_STREAMS_H_

#include "longleaf/v1/document.grpc.pb.h"
#include "service/call_context.h"

namespace longleaf::service {

namespace v1 = longleaf::v1;

grpc::ServerReadReactor<v1::UploadDocumentRequest>* StartUpload(CallContext* context,
                                                                grpc::CallbackServerContext* call,
                                                                v1::Document* response);
grpc::ServerWriteReactor<v1::ReadDocumentTextResponse>* StartReadText(
    CallContext* context, const v1::ReadDocumentTextRequest* request);
grpc::ServerWriteReactor<v1::WatchDocumentResponse>* StartWatch(
    CallContext* context, const v1::WatchDocumentRequest* request);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_DOCUMENT_STREAMS_H_
