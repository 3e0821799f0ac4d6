// UploadDocument: one message at a time is read, made durable on the executor, and only then is the
// next one asked for, so a slow disk slows the client down instead of filling memory.

#include <grpcpp/alarm.h>

#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "service/document_messages.h"
#include "service/document_streams.h"
#include "service/upload_session.h"

namespace longleaf::service {
namespace {

using Clock = std::chrono::system_clock;  // grpc::Alarm's

class UploadCall final : public grpc::ServerReadReactor<v1::UploadDocumentRequest>,
                         public std::enable_shared_from_this<UploadCall> {
 public:
  UploadCall(CallContext* context, v1::Document* response)
      : context_(context),
        response_(response),
        idle_limit_(std::chrono::seconds(context->options->upload_idle_seconds)) {}

  // Keeps itself alive until OnDone. `admitted` says what is left to refuse.
  void Start(const absl::Status& admitted) {
    self_ = shared_from_this();
    if (!admitted.ok()) {
      End(admitted);
      return;
    }
    counted_ = true;
    Touch();
    ArmIdleAlarm();
    ReadNext();
  }

  void OnReadDone(bool ok) override {
    { MutexLock lock(&read_mutex_); }
    Touch();
    context_->disk->Run([this, self = shared_from_this(), ok] { ok ? Process() : Broken(); });
  }

  void OnDone() override {
    idle_alarm_.Cancel();
    context_->disk->Run([self = std::move(self_)] {
      // What arrived is kept even when the client vanished in the middle.
      MutexLock lock(&self->mutex_);
      if (self->session_ != nullptr) {
        self->session_->Suspend().IgnoreError();
        self->session_.reset();
      }
      if (self->counted_) {
        --self->context_->open_uploads;
      }
    });
  }

 private:
  void Process() {
    absl::Status status;
    bool more = false;
    {
      MutexLock lock(&mutex_);
      status = Apply(&more);
    }
    Touch();
    if (!status.ok()) {
      End(status);
    } else if (more) {
      ReadNext();
    } else {
      End(absl::OkStatus());
    }
  }

  // The stream ended without finish_write: closed early, or broken; which of the two cannot be
  // told.
  void Broken() {
    absl::Status status;
    {
      MutexLock lock(&mutex_);
      if (session_ == nullptr) {
        status = InvalidField("header", "the first message must carry it");
      } else {
        status = session_->Suspend();
        if (status.ok()) {
          const store::DocumentRecord& record = session_->record();
          status = WithDetails(
              absl::FailedPreconditionError(absl::StrCat(
                  "the upload of documents/", record.id, " ended after ", record.text_bytes,
                  " bytes without finish_write; go on with write_offset=", record.text_bytes)),
              {.reason = reason::kUploadIncomplete,
               .metadata = {{"document", DocumentResourceName(record.id)},
                            {"committed_bytes", absl::StrCat(record.text_bytes)}}});
        }
      }
    }
    End(status);
  }

  absl::Status Apply(bool* more) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    *more = true;
    if (session_ == nullptr) {
      if (!request_.has_header()) {
        return InvalidField("header", "the first message must carry it");
      }
      absl::StatusOr<UploadRequest> request = FromMessage(request_.header());
      if (!request.ok()) {
        return request.status();
      }
      absl::StatusOr<std::unique_ptr<UploadSession>> session = UploadSession::Begin(
          {context_->store, context_->model, context_->metrics, context_->options}, *request);
      if (!session.ok()) {
        return session.status();
      }
      session_ = *std::move(session);
      if (session_->already_complete()) {
        *more = false;
        return Respond(session_->record());
      }
    } else if (request_.has_header()) {
      return InvalidField("header", "only the first message carries it");
    }
    if (request_.has_chunk()) {
      if (absl::Status status = session_->Write(request_.chunk()); !status.ok()) {
        return status;
      }
    }
    if (!request_.finish_write() && !session_->has_all()) {
      return absl::OkStatus();
    }
    *more = false;
    absl::StatusOr<store::DocumentRecord> record = session_->Finish();
    if (!record.ok()) {
      return record.status();
    }
    context_->engine->ReadDocument({kTenant, record->id});
    return Respond(*record);
  }

  absl::Status Respond(const store::DocumentRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    *response_ = ToMessage(record, context_->engine->board().Find({kTenant, record.id}));
    session_.reset();  // after the record has been read: it may be the session's own
    return absl::OkStatus();
  }

  void End(const absl::Status& status) {
    if (!ended_.exchange(true)) {
      Finish(ToGrpc(status));
    }
  }

  // One read follows the other on different threads. gRPC orders them, but out of the thread
  // sanitizer's sight; this lock does it where it can be seen.
  void ReadNext() {
    MutexLock lock(&read_mutex_);
    StartRead(&request_);
  }

  void Touch() { last_activity_.store(Clock::now().time_since_epoch(), std::memory_order_relaxed); }

  void ArmIdleAlarm() {
    const Clock::time_point last(last_activity_.load(std::memory_order_relaxed));
    idle_alarm_.Set(last + idle_limit_, [weak = weak_from_this()](bool expired) {
      const std::shared_ptr<UploadCall> self = weak.lock();
      if (expired && self != nullptr && !self->ended_) {
        self->OnIdleAlarm();
      }
    });
  }

  void OnIdleAlarm() {
    const Clock::time_point last(last_activity_.load(std::memory_order_relaxed));
    if (Clock::now() < last + idle_limit_) {
      ArmIdleAlarm();
      return;
    }
    End(WithDetails(
        absl::DeadlineExceededError("the upload brought nothing for too long; it can be resumed"),
        {.reason = reason::kUploadIdle}));
  }

  CallContext* const context_;
  v1::Document* const response_;
  const Clock::duration idle_limit_;
  v1::UploadDocumentRequest request_;
  std::atomic<bool> ended_{false};
  std::atomic<Clock::duration> last_activity_{Clock::duration::zero()};
  grpc::Alarm idle_alarm_;
  bool counted_ = false;
  Mutex read_mutex_;
  Mutex mutex_;
  std::unique_ptr<UploadSession> session_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<UploadCall> self_;
};

}  // namespace

grpc::ServerReadReactor<v1::UploadDocumentRequest>* StartUpload(CallContext* context,
                                                                grpc::CallbackServerContext*,
                                                                v1::Document* response) {
  auto call = std::make_shared<UploadCall>(context, response);
  absl::Status admitted;
  if (context->draining) {
    admitted = Draining();
  } else if (context->open_uploads.fetch_add(1) + context->engine->queued_documents() >=
             context->options->max_queued_documents) {
    --context->open_uploads;
    context->metrics->Rejected("queue_full");
    admitted = QueueFull("too many uploads and unread documents",
                         context->engine->SecondsUntilRoomForDocument());
  }
  UploadCall* const raw = call.get();
  call->Start(admitted);
  return raw;
}

}  // namespace longleaf::service
