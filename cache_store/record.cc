// Encoding and decoding of document and request records. See record.h and FORMAT.md.
#include "cache_store/record.h"

#include <utility>

#include "cache_store/coding.h"
#include "cache_store/limits.h"
#include "cache_store/message.h"

namespace longleaf::store {
namespace {

using internal::Decoder;
using internal::Encoder;
using internal::Message;
using internal::RecordKind;

constexpr uint8_t kDocumentVersion = 2;  // 1: without read_tokens and tenant
constexpr uint8_t kRequestVersion = 1;

bool KnownState(uint8_t state) {
  return state >= static_cast<uint8_t>(DocumentState::kCreating) &&
         state <= static_cast<uint8_t>(DocumentState::kFailed);
}

absl::Status TooLong(std::string_view field, size_t size, size_t limit) {
  return absl::InvalidArgumentError(Message(field, " has ", size, " bytes, the limit is ", limit));
}

absl::Status CheckDocument(const DocumentRecord& record) {
  if (record.id.empty() || record.id.size() > kMaxIdBytes) {
    return absl::InvalidArgumentError(
        Message("document id has ", record.id.size(), " bytes, not 1 to ", kMaxIdBytes));
  }
  if (record.tenant.size() > kMaxTenantBytes) {
    return TooLong("tenant", record.tenant.size(), kMaxTenantBytes);
  }
  if (record.display_name.size() > kMaxDisplayNameBytes) {
    return TooLong("display_name", record.display_name.size(), kMaxDisplayNameBytes);
  }
  if (record.request_id.size() > kMaxIdBytes) {
    return TooLong("request_id", record.request_id.size(), kMaxIdBytes);
  }
  if (record.failure_message.size() > kMaxFailureBytes) {
    return TooLong("failure_message", record.failure_message.size(), kMaxFailureBytes);
  }
  size_t label_bytes = 0;
  for (const auto& [name, value] : record.labels) label_bytes += name.size() + value.size();
  if (record.labels.size() > kMaxLabels || label_bytes > kMaxLabelBytes) {
    return absl::InvalidArgumentError(Message(record.labels.size(), " labels with ", label_bytes,
                                              " bytes, the limits are ", kMaxLabels, " and ",
                                              kMaxLabelBytes));
  }
  if (!KnownState(static_cast<uint8_t>(record.state))) {
    return absl::InvalidArgumentError("document state is not one of the known ones");
  }
  for (const int64_t value : {record.create_time_us, record.update_time_us, record.expire_time_us,
                              record.last_asked_time_us, record.serial, record.revision,
                              record.text_bytes, record.token_count, record.tokenized_bytes,
                              record.token_stored_bytes, record.read_tokens}) {
    if (value < 0) return absl::InvalidArgumentError("a time or count is negative");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> EncodeDocument(const DocumentRecord& record) {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckDocument(record));
  Encoder out(RecordKind::kDocument, kDocumentVersion);
  out.String(record.id);
  out.String(record.display_name);
  out.U32(static_cast<uint32_t>(record.labels.size()));
  for (const auto& [name, value] : record.labels) {
    out.String(name);
    out.String(value);
  }
  out.I64(record.create_time_us);
  out.I64(record.update_time_us);
  out.I64(record.expire_time_us);
  out.I64(record.last_asked_time_us);
  out.I64(record.serial);
  out.I64(record.revision);
  out.String(record.request_id);
  out.U8(static_cast<uint8_t>(record.state));
  out.I32(record.failure_code);
  out.String(record.failure_message);
  out.I64(record.text_bytes);
  out.Sha(record.text_sha256);
  out.Sha(record.token_fingerprint);
  out.I64(record.token_count);
  out.I64(record.tokenized_bytes);
  out.I64(record.token_stored_bytes);
  out.I64(record.read_tokens);
  out.String(record.tenant);
  return out.Seal();
}

absl::StatusOr<DocumentRecord> DecodeDocument(std::string_view bytes) {
  constexpr std::string_view kWhat = "document record";
  absl::StatusOr<Decoder> opened =
      Decoder::OpenUpTo(bytes, RecordKind::kDocument, kDocumentVersion, kWhat);
  if (!opened.ok()) return opened.status();
  Decoder& in = *opened;
  DocumentRecord record;
  record.id = in.String(kMaxIdBytes);
  record.display_name = in.String(kMaxDisplayNameBytes);
  const uint32_t labels = in.U32();
  if (labels > kMaxLabels) in.Fail();
  for (uint32_t i = 0; i < labels && in.ok(); ++i) {
    std::string name(in.String(kMaxLabelBytes));
    std::string value(in.String(kMaxLabelBytes));
    // Names ascend, so that one record has one form only.
    if (!record.labels.empty() && name <= record.labels.rbegin()->first) in.Fail();
    record.labels.emplace_hint(record.labels.end(), std::move(name), std::move(value));
  }
  record.create_time_us = in.NonNegative();
  record.update_time_us = in.NonNegative();
  record.expire_time_us = in.NonNegative();
  record.last_asked_time_us = in.NonNegative();
  record.serial = in.NonNegative();
  record.revision = in.NonNegative();
  record.request_id = in.String(kMaxIdBytes);
  const uint8_t state = in.U8();
  record.failure_code = in.I32();
  record.failure_message = in.String(kMaxFailureBytes);
  record.text_bytes = in.NonNegative();
  record.text_sha256 = in.Sha();
  record.token_fingerprint = in.Sha();
  record.token_count = in.NonNegative();
  record.tokenized_bytes = in.NonNegative();
  record.token_stored_bytes = in.NonNegative();
  if (in.version() >= 2) {
    record.read_tokens = in.NonNegative();
    record.tenant = in.String(kMaxTenantBytes);
  }
  LONGLEAF_STORE_RETURN_IF_ERROR(in.Finish(kWhat));
  if (!KnownState(state)) {
    return absl::DataLossError(Message(kWhat, ": state ", state, " is not a known one"));
  }
  record.state = static_cast<DocumentState>(state);
  if (absl::Status status = CheckDocument(record); !status.ok()) {
    return absl::DataLossError(Message(kWhat, ": ", status.message()));
  }
  return record;
}

absl::StatusOr<std::string> EncodeRequest(const RequestRecord& record) {
  if (record.document_id.empty() || record.document_id.size() > kMaxIdBytes || record.serial < 0) {
    return absl::InvalidArgumentError("request record: document id or serial outside its limits");
  }
  Encoder out(RecordKind::kRequest, kRequestVersion);
  out.String(record.document_id);
  out.I64(record.serial);
  out.Sha(record.fingerprint);
  return out.Seal();
}

absl::StatusOr<RequestRecord> DecodeRequest(std::string_view bytes) {
  constexpr std::string_view kWhat = "request record";
  absl::StatusOr<Decoder> opened =
      Decoder::Open(bytes, RecordKind::kRequest, kRequestVersion, kWhat);
  if (!opened.ok()) return opened.status();
  Decoder& in = *opened;
  RequestRecord record;
  record.document_id = in.String(kMaxIdBytes);
  record.serial = in.NonNegative();
  record.fingerprint = in.Sha();
  LONGLEAF_STORE_RETURN_IF_ERROR(in.Finish(kWhat));
  if (record.document_id.empty()) {
    return absl::DataLossError(Message(kWhat, ": document id is empty"));
  }
  return record;
}

std::string_view DocumentStateName(DocumentState state) {
  switch (state) {
    case DocumentState::kCreating:
      return "CREATING";
    case DocumentState::kQueued:
      return "QUEUED";
    case DocumentState::kPrefilling:
      return "PREFILLING";
    case DocumentState::kActive:
      return "ACTIVE";
    case DocumentState::kFailed:
      return "FAILED";
  }
  return "UNKNOWN";
}

}  // namespace longleaf::store
