// UploadDocument: one message at a time is read, made durable on the executor, and only then is the
// next one asked for, so a slow disk slows the client down instead of filling memory.

#include <grpcpp/alarm.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "service/document_messages.h"
#include "service/document_streams.h"
#include "service/upload_session.h"

namespace longleaf::service {
namespace {

using Clock = std::chrono::system_clock;  // grpc::Alarm's

class UploadCall final : public grpc::ServerReadReactor<grpc::ByteBuffer>,
                         public std::enable_shared_from_this<UploadCall> {
 public:
  UploadCall(CallContext* context, grpc::ByteBuffer* response)
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
    {
      MutexLock lock(&read_mutex_);
      ArmIdleAlarm(idle_limit_);
    }
    ReadNext();
  }

  void OnReadDone(bool ok) override {
    {
      MutexLock lock(&read_mutex_);
      waited_ += Clock::now() - read_begun_;
      reading_ = false;
    }
    context_->disk->Run([this, self = shared_from_this(), ok] { ok ? Process() : Broken(); });
  }

  void OnDone() override {
    {
      MutexLock lock(&read_mutex_);
      idle_alarm_.Cancel();
    }
    if (!counted_) {
      // Refused: nothing is to be kept. The last reference may go here.
      const std::shared_ptr<UploadCall> self = std::move(self_);
      return;
    }
    context_->disk->Run([self = std::move(self_)] {
      // What arrived is kept even when the client vanished in the middle.
      MutexLock lock(&self->mutex_);
      if (self->session_ != nullptr) {
        self->session_->Suspend().IgnoreError();
        self->session_.reset();
      }
      --self->context_->open_uploads;
    });
  }

 private:
  void Process() {
    absl::Status status;
    bool more = false;
    {
      MutexLock lock(&mutex_);
      status = ParseRequest(&bytes_, MostMessageBytes(), &request_);
      if (status.ok()) {
        status = Apply(&more);
      }
      bytes_.Clear();
    }
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
      Progressed(context_->options->upload_min_bytes);
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
      Progressed(static_cast<int64_t>(request_.chunk().size()));
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
    context_->engine->ReadDocument({kTenant, record->id}, record->token_count);
    return Respond(*record);
  }

  absl::Status Respond(const store::DocumentRecord& record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    *response_ =
        SerializeResponse(ToMessage(record, context_->engine->board().Find({kTenant, record.id})));
    session_.reset();  // after the record has been read: it may be the session's own
    return absl::OkStatus();
  }

  void End(const absl::Status& status) {
    MutexLock lock(&read_mutex_);
    if (!ended_) {
      ended_ = true;
      Finish(ToGrpc(status));
    }
  }

  // Room for the framing around a chunk of --max-upload-message-bytes, and for a header always.
  int64_t MostMessageBytes() const {
    return std::max(context_->options->max_upload_message_bytes + 64, kMaxRequestBytes);
  }

  // One read follows the other on different threads. gRPC orders them, but out of the thread
  // sanitizer's sight; this lock does it where it can be seen.
  // Nothing is read any more from a call that the alarm has ended meanwhile: gRPC may have let go
  // of it.
  void ReadNext() {
    MutexLock lock(&read_mutex_);
    if (!ended_) {
      reading_ = true;
      read_begun_ = Clock::now();
      StartRead(&bytes_);
    }
  }

  // ---- Clients that bring nothing, or next to nothing, would hold their places for ever. Only the
  // time that the call waits for its client counts, not what the disk needs.

  void Progressed(int64_t bytes) {
    MutexLock lock(&read_mutex_);
    brought_ += bytes;
    if (brought_ >= context_->options->upload_min_bytes) {
      brought_ = 0;
      waited_ = Clock::duration::zero();
    }
  }

  void ArmIdleAlarm(Clock::duration left) ABSL_EXCLUSIVE_LOCKS_REQUIRED(read_mutex_) {
    idle_alarm_.Set(Clock::now() + left, [weak = weak_from_this()](bool expired) {
      const std::shared_ptr<UploadCall> self = weak.lock();
      if (expired && self != nullptr) {
        self->OnIdleAlarm();
      }
    });
  }

  void OnIdleAlarm() {
    {
      MutexLock lock(&read_mutex_);
      if (ended_) {
        return;
      }
      // Not while a message is being written, however long that takes: it is the disk's time, and
      // the answer may be under way.
      const Clock::duration left =
          reading_ ? idle_limit_ - waited_ - (Clock::now() - read_begun_) : idle_limit_;
      if (left > Clock::duration::zero()) {
        ArmIdleAlarm(left);
        return;
      }
    }
    End(WithDetails(
        absl::DeadlineExceededError(absl::StrCat(
            "the upload brought less than ", context_->options->upload_min_bytes, " bytes in ",
            context_->options->upload_idle_seconds, " seconds; it can be resumed")),
        {.reason = reason::kUploadIdle}));
  }

  CallContext* const context_;
  grpc::ByteBuffer* const response_;
  const Clock::duration idle_limit_;
  grpc::ByteBuffer bytes_;
  grpc::Alarm idle_alarm_;  // set and cancelled under read_mutex_: it has no lock of its own
  bool counted_ = false;
  Mutex read_mutex_;
  bool ended_ ABSL_GUARDED_BY(read_mutex_) = false;
  bool reading_ ABSL_GUARDED_BY(read_mutex_) = false;
  Clock::time_point read_begun_ ABSL_GUARDED_BY(read_mutex_);
  // Since the client last brought enough: how long it was waited for, and what it brought.
  Clock::duration waited_ ABSL_GUARDED_BY(read_mutex_) = Clock::duration::zero();
  int64_t brought_ ABSL_GUARDED_BY(read_mutex_) = 0;
  Mutex mutex_;
  v1::UploadDocumentRequest request_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<UploadSession> session_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<UploadCall> self_;
};

}  // namespace

grpc::ServerReadReactor<grpc::ByteBuffer>* StartUpload(CallContext* context,
                                                       grpc::ByteBuffer* response) {
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
