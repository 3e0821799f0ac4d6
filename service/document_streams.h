// The streaming calls of DocumentService, one object a call. Each lives until gRPC is done with it.
#ifndef LONGLEAF_SERVICE_DOCUMENT_STREAMS_H_
#define LONGLEAF_SERVICE_DOCUMENT_STREAMS_H_

#include "longleaf/v1/document.grpc.pb.h"
#include "service/call_context.h"

namespace longleaf::service {

namespace v1 = longleaf::v1;

grpc::ServerReadReactor<grpc::ByteBuffer>* StartUpload(CallContext* context,
                                                       grpc::ByteBuffer* response);
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartReadText(CallContext* context,
                                                          grpc::CallbackServerContext* call,
                                                          const grpc::ByteBuffer* request);
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatch(CallContext* context,
                                                       grpc::CallbackServerContext* call,
                                                       const grpc::ByteBuffer* request);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_DOCUMENT_STREAMS_H_
