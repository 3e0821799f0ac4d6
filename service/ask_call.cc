// Ask: one question and the stream of its answer.

#include <chrono>
#include <memory>
#include <utility>

#include "service/question_calls.h"
#include "service/question_intake.h"
#include "service/question_messages.h"
#include "service/write_call.h"

namespace longleaf::service {
namespace {

class AskCall final : public WriteCall<AskCall, v1::AskResponse> {
 public:
  AskCall(CallContext* context, grpc::CallbackServerContext* call, const grpc::ByteBuffer* request)
      : WriteCall(call, std::chrono::seconds(context->options->stream_idle_seconds)),
        context_(context),
        parsed_(ParseRequest(request, context->options->max_question_bytes + kMaxRequestBytes,
                             &request_)),
        stream_(std::make_shared<AnswerStream>(AnswerStream::kCapacityBytes,
                                               AnswerStream::kTextInterval)),
        // The deadline counts from here: what waits in the executor's queue is waiting, too.
        deadline_(QuestionDeadline(*context, *call, arrival_)) {}

 private:
  void Begin() override {
    const absl::Status admitted =
        !parsed_.ok() ? parsed_ : Admit(context_, context_->executor, [self = shared_from_this()] {
          if (const absl::Status status = self->Submit(); !status.ok()) {
            self->End(status);
          }
        });
    if (!admitted.ok()) {
      End(admitted);
    }
  }
  void OnSent() override {
    context_->delivery->Run([self = shared_from_this()] { self->Pump(/*after_write=*/true); });
  }
  void OnGone() override { stream_->Cancel(); }
  void OnEnded() override { stream_->Cancel(); }

  // Everything that can be said about a request before the engine sees it, then asks the engine.
  absl::Status Submit() {
    if (context_->draining) {
      return Draining();
    }
    const QuestionText text{.question = &request_.question(),
                            .sampling = request_.sampling(),
                            .max_evidence = request_.max_evidence()};
    if (absl::Status status = CheckQuestion(*context_, text); !status.ok()) {
      return status;
    }
    const bool partial = request_.allow_partial();
    absl::StatusOr<store::DocumentRecord> document =
        FindAskable(*context_, request_.document(), partial);
    if (!document.ok()) {
      return document.status();
    }
    absl::StatusOr<QuestionRequest> question = PrepareQuestion(*context_, *document, text, partial);
    if (!question.ok()) {
      return question.status();
    }
    question->arrival = arrival_;
    question->deadline = deadline_;
    document_id_ = document->id;
    document_serial_ = document->serial;
    context_->store->MarkAsked(kTenant, document_id_);
    if (absl::Status status = context_->engine->Ask(*std::move(question), stream_); !status.ok()) {
      return status;
    }
    // Runs under the stream's lock: only a note. Posting is cheap, and Pump finds out what is new.
    stream_->OnReady([this] {
      context_->delivery->Run([self = shared_from_this()] { self->Pump(/*after_write=*/false); });
    });
    return absl::OkStatus();
  }

  // Sends the next event, unless a write is under way: its end comes back here.
  void Pump(bool after_write) {
    AnswerEvent event;
    {
      MutexLock lock(&mutex_);
      if (after_write) {
        sending_ = false;
      }
      if (sending_) {
        return;
      }
      std::optional<AnswerEvent> next = stream_->Pop();
      if (!next.has_value()) {
        if (const std::optional<absl::Status> status = stream_->Closed()) {
          End(*status);
        }
        return;
      }
      event = *std::move(next);
      sending_ = true;
    }
    v1::AskResponse response;
    SetEvent(event, &response);
    if (!HasEvidence(event)) {
      Send(response);
      return;
    }
    // The passages are read from the disk, which other answers must not wait for.
    context_->disk->Run([self = shared_from_this(), event = std::move(event),
                         response = std::move(response)]() mutable {
      AddEvidence(std::get<AnswerFinished>(event).evidence, self->context_->documents,
                  self->document_id_, self->document_serial_, response.mutable_finished());
      self->Send(response);
    });
  }

  CallContext* const context_;
  v1::AskRequest request_;
  const absl::Status parsed_;
  const std::shared_ptr<AnswerStream> stream_;
  const std::chrono::steady_clock::time_point arrival_ = std::chrono::steady_clock::now();
  const std::chrono::steady_clock::time_point deadline_;
  std::string document_id_;
  int64_t document_serial_ = 0;
  Mutex mutex_;
  bool sending_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartAsk(CallContext* context,
                                                     grpc::CallbackServerContext* call,
                                                     const grpc::ByteBuffer* request) {
  return AskCall::Launch(std::make_shared<AskCall>(context, call, request));
}

}  // namespace longleaf::service
