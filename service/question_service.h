// QuestionService on the wire.
#ifndef LONGLEAF_SERVICE_QUESTION_SERVICE_H_
#define LONGLEAF_SERVICE_QUESTION_SERVICE_H_

#include "longleaf/v1/question.grpc.pb.h"
#include "service/call_context.h"
#include "service/question_calls.h"

namespace longleaf::service {

// Thread-safe; no reaction blocks.
class QuestionServiceImpl final
    : public v1::QuestionService::WithRawCallbackMethod_Ask<
          v1::QuestionService::WithRawCallbackMethod_BatchAsk<v1::QuestionService::Service>> {
 public:
  explicit QuestionServiceImpl(CallContext* context) : context_(context) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Ask(grpc::CallbackServerContext* call,
                                                  const grpc::ByteBuffer* request) override {
    return StartAsk(context_, call, request);
  }
  grpc::ServerWriteReactor<grpc::ByteBuffer>* BatchAsk(grpc::CallbackServerContext* call,
                                                       const grpc::ByteBuffer* request) override {
    return StartBatchAsk(context_, call, request);
  }

 private:
  CallContext* const context_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_QUESTION_SERVICE_H_
