// ModelService on the wire.
#ifndef LONGLEAF_SERVICE_MODEL_SERVICE_H_
#define LONGLEAF_SERVICE_MODEL_SERVICE_H_

#include "longleaf/v1/model.grpc.pb.h"
#include "service/call_context.h"

namespace longleaf::service {

// Thread-safe; answers from what is fixed at start.
class ModelServiceImpl final : public longleaf::v1::ModelService::WithRawCallbackMethod_GetModel<
                                   longleaf::v1::ModelService::Service> {
 public:
  explicit ModelServiceImpl(CallContext* context) : context_(context) {}

  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* call,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;

 private:
  CallContext* const context_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_MODEL_SERVICE_H_
