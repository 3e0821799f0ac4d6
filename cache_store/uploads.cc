// A document's text and tokens: appending, completing, reading, and deleting all of it.
#include <algorithm>
#include <limits>
#include <utility>

#include "cache_store/chunks.h"
#include "cache_store/coding.h"
#include "cache_store/documents.h"
#include "cache_store/keys.h"
#include "cache_store/limits.h"
#include "cache_store/message.h"
#include "cache_store/sha256.h"

namespace longleaf::store::internal {
namespace {

absl::Status NotTheNext(std::string_view what, int64_t given, int64_t committed) {
  return absl::OutOfRangeError(
      Message(what, " ", given, " is not the next one, which is ", committed));
}

// Whether the document that has the name is the one that is meant.
absl::Status CheckSerial(const DocumentRecord& record, int64_t serial) {
  return serial == 0 || serial == record.serial
             ? absl::OkStatus()
             : absl::NotFoundError(
                   Message("document ", record.id, " was deleted, another has its name"));
}

absl::Status CheckPart(const DocumentRecord& record, const UploadPart& part) {
  if (static_cast<int64_t>(part.text.size()) > kMaxCallBytes) {
    return absl::InvalidArgumentError(
        Message(part.text.size(), " bytes in one append, the limit is ", kMaxCallBytes));
  }
  if (!part.text.empty() && record.state != DocumentState::kCreating) {
    return absl::FailedPreconditionError(Message(
        "document ", record.id, " is ", DocumentStateName(record.state), ", its text is complete"));
  }
  if (part.write_offset != record.text_bytes) {
    return NotTheNext("write offset", part.write_offset, record.text_bytes);
  }
  if (part.first_token != record.token_count) {
    return NotTheNext("token", part.first_token, record.token_count);
  }
  const int64_t text_bytes = record.text_bytes + static_cast<int64_t>(part.text.size());
  int64_t end = record.tokenized_bytes;
  for (const TextToken& token : part.tokens) {
    if (token.id < 0 || token.end_byte < end || token.end_byte > part.tokenized_bytes) {
      return absl::InvalidArgumentError(Message("token ", token.id, " ending at ", token.end_byte,
                                                " does not lie between ", end, " and ",
                                                part.tokenized_bytes));
    }
    end = token.end_byte;
  }
  if (part.tokenized_bytes < record.tokenized_bytes || part.tokenized_bytes > text_bytes) {
    return absl::InvalidArgumentError(Message("tokenized_bytes ", part.tokenized_bytes,
                                              " is not between ", record.tokenized_bytes, " and ",
                                              text_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DocumentRecord> DocumentTable::Append(const DocumentName& name,
                                                     const UploadPart& part) {
  const NameLocks::Hold hold(&names_, {name.tenant, name.id});
  const absl::StatusOr<DocumentRecord> before = Get(name);
  if (!before.ok()) return before.status();
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckSerial(*before, part.serial));
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckPart(*before, part));

  DocumentRecord after = *before;
  const std::string prefix = NamePrefix(name.tenant, name.id);
  Batch batch(database_);
  for (std::string_view rest = part.text; !rest.empty();) {
    const std::string_view piece = rest.substr(0, static_cast<size_t>(text_chunk_bytes_));
    batch.Put(Family::kText, OffsetKey(prefix, after.text_bytes),
              EncodeTextChunk(after.serial, after.text_bytes, piece));
    after.text_bytes += static_cast<int64_t>(piece.size());
    rest.remove_prefix(piece.size());
  }
  int64_t base_byte = after.tokenized_bytes;
  for (absl::Span<const TextToken> rest = part.tokens; !rest.empty();) {
    const absl::Span<const TextToken> piece = rest.subspan(0, kMaxTokensPerChunk);
    const std::string chunk = EncodeTokenChunk(after.serial, after.token_count, base_byte, piece);
    batch.Put(Family::kTokens, OffsetKey(prefix, after.token_count), chunk);
    after.token_count += static_cast<int64_t>(piece.size());
    after.token_stored_bytes += static_cast<int64_t>(chunk.size());
    base_byte = piece.back().end_byte;
    rest.remove_prefix(piece.size());
  }
  after.tokenized_bytes = part.tokenized_bytes;
  if (!part.text.empty()) after.update_time_us = clock_();

  const int64_t text_bytes = after.text_bytes - before->text_bytes;
  const int64_t token_bytes = after.token_stored_bytes - before->token_stored_bytes;
  LONGLEAF_STORE_RETURN_IF_ERROR(snapshots_.Reserve(Use::kText, text_bytes + token_bytes));
  budget_.Add(Use::kText, -token_bytes);
  budget_.Add(Use::kTokens, token_bytes);
  database_.At(WritePoint::kUploadAppending);
  if (absl::Status status = WriteRecord(name.tenant, *before, after, batch, Durability::kSynced);
      !status.ok()) {
    budget_.Add(Use::kText, -text_bytes);
    budget_.Add(Use::kTokens, -token_bytes);
    return status;
  }
  database_.At(WritePoint::kUploadAppended);
  return after;
}

absl::StatusOr<DocumentRecord> DocumentTable::Finalize(const DocumentName& name,
                                                       int64_t expected_bytes, DocumentState next,
                                                       int64_t serial) {
  if (next != DocumentState::kQueued && next != DocumentState::kActive) {
    return absl::InvalidArgumentError("a finished upload is queued or active");
  }
  const NameLocks::Hold hold(&names_, {name.tenant, name.id});
  const absl::StatusOr<DocumentRecord> before = Get(name);
  if (!before.ok()) return before.status();
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckSerial(*before, serial));
  if (before->text_bytes != expected_bytes) {
    return absl::OutOfRangeError(Message("document ", name.id, " has ", before->text_bytes,
                                         " bytes of text, not ", expected_bytes));
  }
  if (before->state != DocumentState::kCreating) return before;

  Sha256 sha;
  LONGLEAF_STORE_RETURN_IF_ERROR(
      VisitText(database_, name.tenant, *before, 0, before->text_bytes,
                [&sha](int64_t, std::string_view text) { sha.Update(text); }));
  DocumentRecord after = *before;
  after.text_sha256 = sha.Value();
  after.state = next;
  after.update_time_us = clock_();
  ++after.revision;
  Batch batch(database_);
  database_.At(WritePoint::kUploadFinalizing);
  LONGLEAF_STORE_RETURN_IF_ERROR(
      WriteRecord(name.tenant, *before, after, batch, Durability::kSynced));
  database_.At(WritePoint::kUploadFinalized);
  return after;
}

absl::Status DocumentTable::ExplainLoss(const DocumentName& name, int64_t serial,
                                        absl::Status lost) {
  if (!absl::IsDataLoss(lost)) return lost;
  const absl::StatusOr<DocumentRecord> now = Get(name);
  if (absl::IsNotFound(now.status()) || (now.ok() && now->serial != serial)) {
    return absl::NotFoundError(Message("document ", name.id, " was deleted meanwhile"));
  }
  return lost;
}

absl::StatusOr<std::string> DocumentTable::ReadText(const DocumentName& name, int64_t offset,
                                                    int64_t length, int64_t serial) {
  const absl::StatusOr<DocumentRecord> record = Get(name);
  if (!record.ok()) return record.status();
  if (serial != 0 && record->serial != serial) {
    return absl::NotFoundError(Message("document ", name.id, " was deleted meanwhile"));
  }
  if (offset < 0 || length < 0 || length > kMaxCallBytes) {
    return absl::InvalidArgumentError(Message("cannot read ", length, " bytes at ", offset));
  }
  if (offset > record->text_bytes) {
    return absl::OutOfRangeError(
        Message("offset ", offset, " is past the end of the text at ", record->text_bytes));
  }
  const int64_t end = offset + std::min(length, record->text_bytes - offset);
  std::string text;
  text.reserve(static_cast<size_t>(end - offset));
  const absl::Status status = VisitText(
      database_, name.tenant, *record, offset, end, [&](int64_t at, std::string_view chunk) {
        const int64_t from = std::max(offset, at);
        const int64_t to = std::min(end, at + static_cast<int64_t>(chunk.size()));
        if (from < to) {
          text.append(chunk.substr(static_cast<size_t>(from - at), static_cast<size_t>(to - from)));
        }
      });
  if (!status.ok()) return ExplainLoss(name, record->serial, status);
  return text;
}

absl::StatusOr<std::vector<TextToken>> DocumentTable::ReadTokens(const DocumentName& name,
                                                                 int64_t first, int64_t count) {
  const absl::StatusOr<DocumentRecord> record = Get(name);
  if (!record.ok()) return record.status();
  if (first < 0 || count < 0) {
    return absl::InvalidArgumentError(Message("cannot read ", count, " tokens at ", first));
  }
  if (first > record->token_count) {
    return absl::OutOfRangeError(
        Message("token ", first, " is past the end at ", record->token_count));
  }
  const int64_t end = first + std::min(count, record->token_count - first);
  std::vector<TextToken> tokens;
  tokens.reserve(static_cast<size_t>(end - first));
  const absl::Status status =
      VisitTokens(database_, name.tenant, *record, first, end,
                  [&](int64_t at, absl::Span<const TextToken> chunk) {
                    const int64_t from = std::max(first, at);
                    const int64_t to = std::min(end, at + static_cast<int64_t>(chunk.size()));
                    for (int64_t i = from; i < to; ++i) {
                      tokens.push_back(chunk[static_cast<size_t>(i - at)]);
                    }
                  });
  if (!status.ok()) return ExplainLoss(name, record->serial, status);
  return tokens;
}

absl::StatusOr<DocumentRecord> DocumentTable::ResetTokens(const DocumentName& name,
                                                          const Digest& fingerprint) {
  const NameLocks::Hold hold(&names_, {name.tenant, name.id});
  const absl::StatusOr<DocumentRecord> before = Get(name);
  if (!before.ok()) return before.status();
  DocumentRecord after = *before;
  after.token_fingerprint = fingerprint;
  after.token_count = 0;
  after.tokenized_bytes = 0;
  after.token_stored_bytes = 0;
  const std::string prefix = NamePrefix(name.tenant, name.id);
  Batch batch(database_);
  batch.DeleteRange(Family::kTokens, prefix, OffsetEnd(prefix));
  LONGLEAF_STORE_RETURN_IF_ERROR(
      WriteRecord(name.tenant, *before, after, batch, Durability::kSynced));
  budget_.Add(Use::kTokens, -before->token_stored_bytes);
  return after;
}

absl::Status DocumentTable::Delete(
    const DocumentName& name, const absl::FunctionRef<bool(const DocumentRecord&)>* condition) {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckName(name.tenant, name.id));
  const NameLocks::Hold hold(&names_, {name.tenant, name.id});
  const absl::StatusOr<DocumentRecord> record = Get(name);
  // A damaged record can be deleted, too; its request id is not known and stays, leading nowhere.
  if (!record.ok() && !absl::IsDataLoss(record.status())) return record.status();
  if (condition != nullptr && !record.ok()) return record.status();
  if (condition != nullptr && !(*condition)(*record)) {
    return absl::FailedPreconditionError(
        Message("document ", name.id, " is not to be deleted any more"));
  }
  const std::string prefix = NamePrefix(name.tenant, name.id);
  const std::string end = OffsetEnd(prefix);
  Batch batch(database_);
  batch.Delete(Family::kDocuments, NameKey(name.tenant, name.id));
  batch.DeleteRange(Family::kText, prefix, end);
  batch.DeleteRange(Family::kTokens, prefix, end);
  if (record.ok() && !record->request_id.empty()) {
    batch.Delete(Family::kRequests, NameKey(name.tenant, record->request_id));
  }
  const int64_t damaged_bytes = record.ok() ? 0 : StoredBytes(name);
  database_.At(WritePoint::kDocumentDeleting);
  LONGLEAF_STORE_RETURN_IF_ERROR(snapshots_.WriteReleasing(name, batch));
  database_.At(WritePoint::kDocumentDeleted);
  if (record.ok()) {
    budget_.Add(Use::kText, -record->text_bytes);
    budget_.Add(Use::kTokens, -record->token_stored_bytes);
    Recount(name.tenant, &*record, nullptr);
    notes_.Forget(name);
    return absl::OkStatus();
  }
  MutexLock lock(&counts_mutex_);
  if (damaged_.erase(name) > 0) budget_.Add(Use::kText, -damaged_bytes);
  return absl::OkStatus();
}

}  // namespace longleaf::store::internal
