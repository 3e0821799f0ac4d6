// ReadDocumentText: one piece at a time, the next one read only when the last has been sent.

#include <algorithm>
#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "service/document_streams.h"
#include "service/write_call.h"

namespace longleaf::service {
namespace {

constexpr int64_t kPieceBytes = 256 << 10;  // in memory for each open stream

class ReadTextCall final : public WriteCall<ReadTextCall, v1::ReadDocumentTextResponse> {
 public:
  ReadTextCall(CallContext* context, grpc::CallbackServerContext* call,
               const grpc::ByteBuffer* request)
      : WriteCall(call, std::chrono::seconds(context->options->stream_idle_seconds)),
        context_(context),
        parsed_(ParseRequest(request, kMaxRequestBytes, &request_)) {}

 private:
  void Begin() override {
    const bool room = TakeStreamPlace(context_);
    const absl::Status admitted =
        !parsed_.ok() ? parsed_
        : !room       ? TooManyStreams(context_)
                      : Admit(context_, context_->disk, [self = shared_from_this()] {
                    const absl::Status status = self->Open();
                    status.ok() ? self->SendPiece() : self->End(status);
                  });
    if (!admitted.ok()) {
      End(admitted);
    }
  }
  void OnSent() override {
    context_->disk->Run([self = shared_from_this()] { self->SendPiece(); });
  }
  void OnGone() override {}
  void OnEnded() override { LeaveStreamPlace(context_); }

  absl::Status Open() {
    next_ = request_.offset();
    const int64_t limit = request_.limit();
    if (next_ < 0 || limit < 0) {
      return InvalidField(next_ < 0 ? "offset" : "limit", "must not be negative");
    }
    absl::StatusOr<std::string> id = ParseDocumentName(request_.name(), "name");
    if (!id.ok()) {
      return id.status();
    }
    id_ = *std::move(id);
    absl::StatusOr<store::DocumentRecord> record = context_->documents->Get(id_);
    if (!record.ok()) {
      return record.status();
    }
    if (next_ > record->text_bytes) {
      return InvalidField("offset", absl::StrCat("the text has ", record->text_bytes, " bytes"));
    }
    serial_ = record->serial;
    const int64_t rest = record->text_bytes - next_;
    end_ = next_ + (limit == 0 ? rest : std::min(limit, rest));
    return absl::OkStatus();
  }

  void SendPiece() {
    if (next_ >= end_) {
      End(absl::OkStatus());
      return;
    }
    absl::StatusOr<std::string> text =
        context_->documents->ReadText(id_, serial_, next_, std::min(kPieceBytes, end_ - next_));
    if (!text.ok()) {
      End(text.status());
      return;
    }
    next_ += static_cast<int64_t>(text->size());
    v1::ReadDocumentTextResponse piece;
    piece.set_chunk(*std::move(text));
    Send(piece);
  }

  CallContext* const context_;
  v1::ReadDocumentTextRequest request_;
  const absl::Status parsed_;
  std::string id_;
  int64_t serial_ = 0;
  int64_t next_ = 0;
  int64_t end_ = 0;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartReadText(CallContext* context,
                                                          grpc::CallbackServerContext* call,
                                                          const grpc::ByteBuffer* request) {
  return ReadTextCall::Launch(std::make_shared<ReadTextCall>(context, call, request));
}

}  // namespace longleaf::service
