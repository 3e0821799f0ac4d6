// WatchDocument: sends the document's state and progress when they change, at most ten times a
// second, and ends when the document is ACTIVE or FAILED.

#include <grpcpp/alarm.h>

#include <chrono>
#include <memory>

#include "service/document_messages.h"
#include "service/document_streams.h"
#include "service/write_call.h"

namespace longleaf::service {
namespace {

constexpr std::chrono::milliseconds kPause(100);

class WatchCall final : public WriteCall<WatchCall, v1::WatchDocumentResponse> {
 public:
  WatchCall(CallContext* context, grpc::CallbackServerContext* call,
            const grpc::ByteBuffer* request)
      : WriteCall(call, std::chrono::seconds(context->options->stream_idle_seconds)),
        context_(context),
        parsed_(ParseRequest(request, kMaxRequestBytes, &request_)) {}

 private:
  void Begin() override {
    const bool room = TakeStreamPlace(context_);
    if (!parsed_.ok() || !room) {
      End(!parsed_.ok() ? parsed_ : TooManyStreams(context_));
      return;
    }
    absl::StatusOr<std::string> id = ParseDocumentName(request_.name(), "name");
    if (!id.ok()) {
      End(id.status());
      return;
    }
    name_ = {kTenant, *std::move(id)};
    subscription_ = context_->engine->board().Subscribe(name_, [weak = weak_from_this()] {
      if (const std::shared_ptr<WatchCall> self = weak.lock()) {
        self->Wake();
      }
    });
    Wake();
  }

  void OnSent() override {
    pause_.Set(std::chrono::system_clock::now() + kPause, [weak = weak_from_this()](bool) {
      if (const std::shared_ptr<WatchCall> self = weak.lock()) {
        self->Rest();
      }
    });
  }
  void OnGone() override {}
  void OnEnded() override {
    LeaveStreamPlace(context_);
    if (subscription_ == nullptr) {
      return;
    }
    // On the executor: the board's lock may be held by who wakes this call right now.
    context_->executor->Run([self = shared_from_this()] {
      std::unique_ptr<ProgressBoard::Subscription> subscription = std::move(self->subscription_);
    });
  }

  // Something may have changed: look, unless a look or a write is under way, which looks again.
  void Wake() {
    MutexLock lock(&mutex_);
    dirty_ = true;
    if (!busy_) {
      busy_ = true;
      context_->executor->Run([self = shared_from_this()] { self->Look(); });
    }
  }

  void Rest() {
    MutexLock lock(&mutex_);
    if (dirty_) {
      context_->executor->Run([self = shared_from_this()] { self->Look(); });
    } else {
      busy_ = false;
    }
  }

  void Look() {
    {
      MutexLock lock(&mutex_);
      dirty_ = false;
    }
    const std::optional<ProgressBoard::Entry> live = context_->engine->board().Find(name_);
    absl::StatusOr<store::DocumentRecord> record = context_->documents->Get(name_.id);
    if (!record.ok()) {
      End(record.status());
      return;
    }
    const v1::Document document = ToMessage(*record, live);
    v1::WatchDocumentResponse now;
    now.set_state(document.state());
    *now.mutable_progress() = document.progress();
    now.set_failure(document.failure());
    const bool last = document.state() == v1::DOCUMENT_STATE_ACTIVE ||
                      document.state() == v1::DOCUMENT_STATE_FAILED;
    if (context_->draining && !last) {
      End(Draining());
      return;
    }
    std::string bytes = now.SerializeAsString();
    if (bytes == sent_) {
      Rest();
      return;
    }
    sent_ = std::move(bytes);
    Send(now);
    if (last) {
      End(absl::OkStatus());  // without the pause after a message
    }
  }

  CallContext* const context_;
  v1::WatchDocumentRequest request_;
  const absl::Status parsed_;
  store::DocumentName name_;
  std::unique_ptr<ProgressBoard::Subscription> subscription_;
  grpc::Alarm pause_;
  std::string sent_;  // touched by one look at a time

  Mutex mutex_;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool dirty_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatch(CallContext* context,
                                                       grpc::CallbackServerContext* call,
                                                       const grpc::ByteBuffer* request) {
  return WatchCall::Launch(std::make_shared<WatchCall>(context, call, request));
}

}  // namespace longleaf::service
