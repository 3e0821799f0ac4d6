#include "service/upload_session.h"

#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "service/errors.h"

namespace longleaf::service {
namespace {

// Text is committed in pieces of about this size: each is a synced write.
constexpr size_t kCommitBytes = 1 << 20;
constexpr int64_t kReadBackBytes = 1 << 20;

// What makes two requests with one request_id the same request.
store::Digest RequestDigest(const UploadRequest& request) {
  std::string text = absl::StrCat(request.id, "\n", request.display_name, "\n");
  for (const auto& [key, value] : request.labels) {
    absl::StrAppend(&text, key.size(), ":", key, "=", value.size(), ":", value, "\n");
  }
  store::Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return digest;
}

absl::Status OffsetMismatch(const store::DocumentRecord& record, int64_t write_offset) {
  return WithDetails(
      absl::InvalidArgumentError(absl::StrCat("write_offset is ", write_offset, " but ",
                                              record.text_bytes, " bytes are committed")),
      {.reason = reason::kOffsetMismatch,
       .metadata = {{"committed_bytes", absl::StrCat(record.text_bytes)}},
       .field = "write_offset"});
}

}  // namespace

UploadSession::UploadSession(const UploadContext& context, const UploadRequest& request,
                             store::DocumentRecord record)
    : context_(context), total_bytes_(request.total_bytes), record_(std::move(record)) {}

absl::StatusOr<std::unique_ptr<UploadSession>> UploadSession::Begin(const UploadContext& context,
                                                                    const UploadRequest& request) {
  const int64_t max_bytes = context.options->max_document_bytes;
  if (request.total_bytes > max_bytes) {
    return WithDetails(
        absl::InvalidArgumentError(absl::StrCat("the document has ", request.total_bytes,
                                                " bytes, the limit is ", max_bytes)),
        {.reason = reason::kDocumentTooLong, .field = "total_bytes"});
  }
  store::DocumentRecord record;
  bool is_new = false;
  if (request.request_id.empty() && !request.id.empty() && request.write_offset > 0) {
    // Resumed by name.
    absl::StatusOr<store::DocumentRecord> found = context.store->GetDocument(kTenant, request.id);
    if (!found.ok()) {
      return FromStore(found.status(), request.id);
    }
    if (found->state != store::DocumentState::kCreating) {
      return Error(absl::StatusCode::kAlreadyExists, reason::kAlreadyExists,
                   absl::StrCat("documents/", request.id, " is already complete"));
    }
    record = *std::move(found);
  } else {
    record.id = request.id.empty() ? RandomUuid() : request.id;
    record.display_name = request.display_name;
    record.labels = request.labels;
    record.expire_time_us = request.expire_time_us;
    record.request_id = request.request_id;
    record.token_fingerprint = context.model->token_fingerprint();
    absl::StatusOr<store::CreateResult> created =
        context.store->CreateDocument(kTenant, record, RequestDigest(request));
    if (!created.ok()) {
      return FromStore(created.status(), record.id);
    }
    record = std::move(created->record);
    is_new = created->created;
  }
  std::unique_ptr<UploadSession> session(new UploadSession(context, request, std::move(record)));
  if (session->record_.state != store::DocumentState::kCreating) {
    session->already_complete_ = true;
    return session;
  }
  if (session->record_.text_bytes != request.write_offset) {
    // There was nothing to go on with: a document of which its client knows nothing must not stay.
    const absl::Status mismatch = OffsetMismatch(session->record_, request.write_offset);
    return is_new ? session->Discard(mismatch) : mismatch;
  }
  if (absl::Status status = session->Resume(); !status.ok()) {
    return status;
  }
  return session;
}

// Sets the tokenizer to where it was: at the end of the committed tokens, fed with the committed
// text after them.
absl::Status UploadSession::Resume() {
  if (record_.token_fingerprint != context_.model->token_fingerprint()) {
    absl::StatusOr<store::DocumentRecord> reset =
        context_.store->ResetTokens(kTenant, record_.id, context_.model->token_fingerprint());
    if (!reset.ok()) {
      return FromStore(reset.status(), record_.id);
    }
    record_ = *std::move(reset);
  }
  tokenizer_ = context_.model->NewTokenizer(record_.tokenized_bytes);
  for (int64_t at = record_.tokenized_bytes; at < record_.text_bytes; at += kReadBackBytes) {
    absl::StatusOr<std::string> text = context_.store->ReadText(
        kTenant, record_.id, at, std::min(kReadBackBytes, record_.text_bytes - at));
    if (!text.ok()) {
      return FromStore(text.status(), record_.id);
    }
    if (absl::Status status = Tokenize(*text); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

bool UploadSession::has_all() const {
  return total_bytes_ > 0 &&
         record_.text_bytes + static_cast<int64_t>(pending_text_.size()) >= total_bytes_;
}

absl::Status UploadSession::Write(absl::string_view bytes) {
  const int64_t arrived =
      record_.text_bytes + static_cast<int64_t>(pending_text_.size() + bytes.size());
  if (total_bytes_ > 0 && arrived > total_bytes_) {
    return InvalidField("chunk", absl::StrCat("more text than total_bytes=", total_bytes_));
  }
  const int64_t max_bytes = context_.options->max_document_bytes;
  if (arrived > max_bytes) {
    return Discard(WithDetails(absl::InvalidArgumentError(absl::StrCat(
                                   "the document has more than ", max_bytes, " bytes, the limit")),
                               {.reason = reason::kDocumentTooLong, .field = "chunk"}));
  }
  if (absl::Status status = Tokenize(bytes); !status.ok()) {
    return Discard(status);
  }
  pending_text_.append(bytes.data(), bytes.size());
  return pending_text_.size() >= kCommitBytes ? Commit() : absl::OkStatus();
}

absl::Status UploadSession::Tokenize(absl::string_view bytes) {
  scratch_.clear();
  if (absl::Status status = tokenizer_->Feed({bytes.data(), bytes.size()}, &scratch_);
      !status.ok()) {
    return WithDetails(status, {.reason = reason::kNotUtf8, .field = "chunk"});
  }
  return TakeTokens();
}

absl::Status UploadSession::TakeTokens() {
  for (const model::Token& token : scratch_) {
    pending_tokens_.push_back({token.id, token.end_byte});
  }
  const int64_t tokens = record_.token_count + static_cast<int64_t>(pending_tokens_.size());
  const int64_t limit = context_.model->max_document_tokens();
  if (tokens > limit) {
    return WithDetails(
        absl::InvalidArgumentError(absl::StrCat("the document has more than ", limit, " tokens (",
                                                tokens, " so far); the model's context is ",
                                                context_.model->context_length())),
        {.reason = reason::kDocumentTooLong,
         .metadata = {{"max_document_tokens", absl::StrCat(limit)},
                      {"tokens", absl::StrCat(tokens)},
                      {"context_length", absl::StrCat(context_.model->context_length())}},
         .field = "chunk"});
  }
  return absl::OkStatus();
}

absl::Status UploadSession::Commit() {
  if (pending_text_.empty() && pending_tokens_.empty()) {
    return absl::OkStatus();
  }
  store::UploadPart part;
  part.write_offset = record_.text_bytes;
  part.text = pending_text_;
  part.first_token = record_.token_count;
  part.tokens = pending_tokens_;
  part.tokenized_bytes = tokenizer_->split_point();
  part.serial = record_.serial;
  absl::StatusOr<store::DocumentRecord> record =
      context_.store->AppendUpload(kTenant, record_.id, part);
  if (absl::IsFailedPrecondition(record.status())) {
    const absl::StatusOr<store::DocumentRecord> now =
        context_.store->GetDocument(kTenant, record_.id);
    if (now.ok() && now->state != store::DocumentState::kCreating) {
      return Error(absl::StatusCode::kAlreadyExists, reason::kAlreadyExists,
                   absl::StrCat("documents/", record_.id, " was completed by another call"));
    }
  }
  if (!record.ok()) {
    return FromStore(record.status(), record_.id);
  }
  context_.metrics->UploadBytes(static_cast<int64_t>(pending_text_.size()));
  record_ = *std::move(record);
  pending_text_.clear();
  pending_tokens_.clear();
  return absl::OkStatus();
}

absl::StatusOr<store::DocumentRecord> UploadSession::Finish() {
  const int64_t arrived = record_.text_bytes + static_cast<int64_t>(pending_text_.size());
  if (arrived == 0) {
    return Discard(WithDetails(absl::InvalidArgumentError("the document is empty"),
                               {.reason = reason::kEmptyDocument, .field = "chunk"}));
  }
  if (total_bytes_ > 0 && arrived < total_bytes_) {
    absl::Status kept = Suspend();
    return kept.ok() ? InvalidField("finish_write",
                                    absl::StrCat("only ", arrived, " of total_bytes=", total_bytes_,
                                                 " have arrived"))
                     : kept;
  }
  if (absl::Status status = Commit(); !status.ok()) {
    return status;
  }
  scratch_.clear();
  absl::Status status = tokenizer_->Finish(&scratch_);
  if (!status.ok()) {
    return Discard(WithDetails(status, {.reason = reason::kNotUtf8, .field = "chunk"}));
  }
  if (status = TakeTokens(); !status.ok()) {
    return Discard(status);
  }
  // The last tokens are right only once no text can follow, so they are stored after the text is
  // declared complete. A crash in between leaves them to LoadDocument.
  absl::StatusOr<store::DocumentRecord> record = context_.store->FinalizeUpload(
      kTenant, record_.id, record_.text_bytes, store::DocumentState::kQueued, record_.serial);
  if (!record.ok()) {
    return FromStore(record.status(), record_.id);
  }
  record_ = *std::move(record);
  if (status = Commit(); !status.ok()) {
    return status;
  }
  return record_;
}

absl::Status UploadSession::Suspend() { return Commit(); }

absl::Status UploadSession::Discard(absl::Status status) {
  // What is left behind when this fails is an unfinished upload like any other. Another call may
  // have completed the document, or it was deleted and the id used again: then it stays.
  context_.store
      ->DeleteDocumentIf(kTenant, record_.id,
                         [this](const store::DocumentRecord& now) {
                           return now.serial == record_.serial &&
                                  now.state == store::DocumentState::kCreating;
                         })
      .IgnoreError();
  pending_text_.clear();
  pending_tokens_.clear();
  return status;
}

}  // namespace longleaf::service
