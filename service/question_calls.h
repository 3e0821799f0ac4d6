// The streaming calls of QuestionService, one object a call. Each lives until gRPC is done with it.
#ifndef LONGLEAF_SERVICE_QUESTION_CALLS_H_
#define LONGLEAF_SERVICE_QUESTION_CALLS_H_

#include "longleaf/v1/question.grpc.pb.h"
#include "service/call_context.h"

namespace longleaf::service {

namespace v1 = longleaf::v1;

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartAsk(CallContext* context,
                                                     grpc::CallbackServerContext* call,
                                                     const grpc::ByteBuffer* request);
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartBatchAsk(CallContext* context,
                                                          grpc::CallbackServerContext* call,
                                                          const grpc::ByteBuffer* request);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_QUESTION_CALLS_H_
