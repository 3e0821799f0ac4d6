// ReadDocumentText: one piece at a time, the next one read only when the last has been sent.

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "service/document_streams.h"
#include "service/write_call.h"

namespace longleaf::service {
namespace {

constexpr int64_t kPieceBytes = 1 << 20;

class ReadTextCall final : public WriteCall<ReadTextCall, v1::ReadDocumentTextResponse> {
 public:
  ReadTextCall(CallContext* context, const v1::ReadDocumentTextRequest& request)
      : context_(context),
        name_(request.name()),
        next_(request.offset()),
        limit_(request.limit()) {}

 private:
  void Begin() override {
    context_->disk->Run([self = shared_from_this()] {
      const absl::Status status = self->Open();
      status.ok() ? self->SendPiece() : self->End(status);
    });
  }
  void OnSent() override {
    context_->disk->Run([self = shared_from_this()] { self->SendPiece(); });
  }
  void OnGone() override {}
  void OnEnded() override {}

  absl::Status Open() {
    if (context_->draining) {
      return Draining();
    }
    if (next_ < 0 || limit_ < 0) {
      return InvalidField(next_ < 0 ? "offset" : "limit", "must not be negative");
    }
    absl::StatusOr<std::string> id = ParseDocumentName(name_, "name");
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
    const int64_t rest = record->text_bytes - next_;
    end_ = next_ + (limit_ == 0 ? rest : std::min(limit_, rest));
    return absl::OkStatus();
  }

  void SendPiece() {
    if (next_ >= end_) {
      End(absl::OkStatus());
      return;
    }
    absl::StatusOr<std::string> text =
        context_->documents->ReadText(id_, next_, std::min(kPieceBytes, end_ - next_));
    if (!text.ok()) {
      End(text.status());
      return;
    }
    next_ += static_cast<int64_t>(text->size());
    v1::ReadDocumentTextResponse piece;
    piece.set_chunk(*std::move(text));
    Send(std::move(piece));
  }

  CallContext* const context_;
  const std::string name_;
  std::string id_;
  int64_t next_;
  const int64_t limit_;
  int64_t end_ = 0;
};

}  // namespace

grpc::ServerWriteReactor<v1::ReadDocumentTextResponse>* StartReadText(
    CallContext* context, const v1::ReadDocumentTextRequest* request) {
  return ReadTextCall::Launch(std::make_shared<ReadTextCall>(context, *request));
}

}  // namespace longleaf::service
