// What the handlers of all services share.
#ifndef LONGLEAF_SERVICE_CALL_CONTEXT_H_
#define LONGLEAF_SERVICE_CALL_CONTEXT_H_

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <utility>

#include "cache_store/store.h"
#include "service/documents.h"
#include "service/engine.h"
#include "service/errors.h"
#include "service/executor.h"
#include "service/grpc_status.h"
#include "service/metrics.h"
#include "service/options.h"
#include "service/served_model.h"

namespace longleaf::service {

// None of the pointers owned; all outlive the services.
struct CallContext {
  const Options* options = nullptr;
  const ServedModel* model = nullptr;
  store::Store* store = nullptr;
  Engine* engine = nullptr;
  Metrics* metrics = nullptr;
  Documents* documents = nullptr;
  // Three, so that a stalled disk holds up only who needs it: answers from memory pass through the
  // other two.
  Executor* disk = nullptr;  // what waits for the disk: uploads, changes, reading text
  Executor* executor =
      nullptr;  // what needs a document's record at most, which is in memory mostly
  Executor* delivery = nullptr;  // handing answers to gRPC
  std::atomic<bool> draining{false};
  std::atomic<int64_t> open_uploads{0};
};

inline absl::Status Draining() {
  return WithDetails(absl::UnavailableError("the server is shutting down"),
                     {.reason = reason::kDraining, .retry_seconds = 1});
}

// Answers a unary call from `work`, which returns an absl::Status and runs on `executor`.
template <typename Work>
grpc::ServerUnaryReactor* RunUnary(CallContext* context, Executor* executor,
                                   grpc::CallbackServerContext* call, Work work) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  if (context->draining) {
    reactor->Finish(ToGrpc(Draining()));
    return reactor;
  }
  executor->Run([reactor, work = std::move(work)] { reactor->Finish(ToGrpc(work())); });
  return reactor;
}

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_CALL_CONTEXT_H_
