// What the handlers of all services share.
#ifndef LONGLEAF_SERVICE_CALL_CONTEXT_H_
#define LONGLEAF_SERVICE_CALL_CONTEXT_H_

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <functional>
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
#include "service/wire_message.h"

namespace longleaf::service {

// None of the pointers owned; all outlive the services.
struct CallContext {
  const Options* options = nullptr;
  const ServedModel* model = nullptr;
  store::Store* store = nullptr;
  Engine* engine = nullptr;
  Metrics* metrics = nullptr;
  Documents* documents = nullptr;
  // Three, so that a stalled disk holds up only who needs it: `disk` is for uploads, changes and
  // reading text; `executor` for what needs a document's record at most, which is in memory mostly;
  // `delivery` hands answers to gRPC.
  Executor* disk = nullptr;
  Executor* executor = nullptr;
  Executor* delivery = nullptr;
  std::atomic<bool> draining{false};
  std::atomic<int64_t> open_uploads{0};
  std::atomic<int64_t> open_streams{0};  // that watch documents and read their texts
};

inline absl::Status Draining() {
  return WithDetails(absl::UnavailableError("the server is shutting down"),
                     {.reason = reason::kDraining, .retry_seconds = 1});
}

// A stream's place under --max-streams: taken once when it begins, left once when it has ended.
// False: there are too many, which this one must refuse (and then leave its place all the same).
inline bool TakeStreamPlace(CallContext* context) {
  return context->open_streams.fetch_add(1) < context->options->max_streams;
}
inline void LeaveStreamPlace(CallContext* context) { --context->open_streams; }
inline absl::Status TooManyStreams(CallContext* context) {
  context->metrics->Rejected("queue_full");
  return QueueFull("too many documents are watched and texts read", 5);
}

// Takes an operation's first task to `executor`, or says why not.
inline absl::Status Admit(CallContext* context, Executor* executor, std::function<void()> task) {
  if (context->draining) {
    return Draining();
  }
  if (!executor->RunIfRoom(std::move(task), context->options->max_waiting_calls)) {
    context->metrics->Rejected("queue_full");
    return QueueFull("too many calls are waiting", 1);
  }
  return absl::OkStatus();
}

// Answers a unary call from `work(request, response)`, which returns an absl::Status and runs on
// `executor`.
template <typename Request, typename Response, typename Work>
grpc::ServerUnaryReactor* RunUnary(CallContext* context, Executor* executor,
                                   grpc::CallbackServerContext* call, const grpc::ByteBuffer* bytes,
                                   grpc::ByteBuffer* answer, Work work) {
  grpc::ServerUnaryReactor* reactor = call->DefaultReactor();
  const absl::Status admitted =
      Admit(context, executor, [reactor, bytes, answer, work = std::move(work)] {
        Request request;
        Response response;
        absl::Status status = ParseRequest(bytes, kMaxRequestBytes, &request);
        if (status.ok()) {
          status = work(request, &response);
        }
        if (status.ok()) {
          *answer = SerializeResponse(response);
        }
        reactor->Finish(ToGrpc(status));
      });
  if (!admitted.ok()) {
    reactor->Finish(ToGrpc(admitted));
  }
  return reactor;
}

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_CALL_CONTEXT_H_
