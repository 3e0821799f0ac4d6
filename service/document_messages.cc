#include "service/document_messages.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "service/errors.h"
#include "service/time_conversion.h"

namespace longleaf::service {
namespace {

// A thousand years: what expires then still has a time that protobuf can write (the year 9999).
constexpr int64_t kLongestTtlSeconds = 31'557'600'000;
constexpr int kMostMaskPaths = 16;

Labels LabelsOf(const google::protobuf::Map<std::string, std::string>& map) {
  return {map.begin(), map.end()};
}

// Microseconds since the epoch; 0 when neither is set. Message has the oneof `expiration`.
template <typename Message>
absl::StatusOr<int64_t> ExpireTime(const Message& message) {
  if (message.has_expire_time()) {
    if (!IsValid(message.expire_time())) {
      return InvalidField("expire_time", "not a valid time");
    }
    const int64_t time = FromTimestamp(message.expire_time());
    if (time <= NowMicros()) {
      return InvalidField("expire_time", "lies in the past");
    }
    return time;
  }
  if (message.has_ttl()) {
    if (!IsValid(message.ttl()) || message.ttl().seconds() < 0 || message.ttl().nanos() < 0 ||
        (message.ttl().seconds() == 0 && message.ttl().nanos() == 0)) {
      return InvalidField("ttl", "must be a duration above zero");
    }
    if (message.ttl().seconds() > kLongestTtlSeconds) {
      return InvalidField("ttl", absl::StrCat("at most ", kLongestTtlSeconds, " seconds"));
    }
    return NowMicros() + message.ttl().seconds() * kMicros + message.ttl().nanos() / 1000;
  }
  return 0;
}

}  // namespace

v1::DocumentState ToMessage(store::DocumentState state) {
  switch (state) {
    case store::DocumentState::kCreating:
      return v1::DOCUMENT_STATE_CREATING;
    case store::DocumentState::kQueued:
      return v1::DOCUMENT_STATE_QUEUED;
    case store::DocumentState::kPrefilling:
      return v1::DOCUMENT_STATE_PREFILLING;
    case store::DocumentState::kActive:
      return v1::DOCUMENT_STATE_ACTIVE;
    case store::DocumentState::kFailed:
      return v1::DOCUMENT_STATE_FAILED;
  }
  return v1::DOCUMENT_STATE_UNSPECIFIED;
}

v1::Progress ToMessage(const Progress& progress) {
  v1::Progress out;
  out.set_tokens_total(progress.tokens_total);
  out.set_tokens_done(progress.tokens_done);
  out.set_tokens_reused(progress.tokens_reused);
  if (progress.eta_seconds >= 0) {
    *out.mutable_eta() = ToDuration(progress.eta_seconds);
  }
  return out;
}

Progress ProgressOf(const store::DocumentRecord& record) {
  Progress progress;
  progress.tokens_total = record.token_count;
  if (record.state == store::DocumentState::kActive) {
    progress.tokens_done = record.token_count;
    progress.eta_seconds = 0;
  }
  return progress;
}

v1::Document ToMessage(const store::DocumentRecord& record,
                       const std::optional<ProgressBoard::Entry>& entry) {
  // What is known of a document that had this id before says nothing about this one.
  const bool about_it = entry.has_value() &&
                        (entry->serial == record.serial ||
                         (entry->serial == 0 && record.state != store::DocumentState::kCreating));
  const std::optional<ProgressBoard::Entry> live = about_it ? entry : std::nullopt;
  v1::Document out;
  out.set_name(DocumentResourceName(record.id));
  out.set_display_name(record.display_name);
  out.mutable_labels()->insert(record.labels.begin(), record.labels.end());
  const bool finished = record.state == store::DocumentState::kActive ||
                        record.state == store::DocumentState::kFailed;
  const bool reading = live.has_value() && !finished;
  out.set_state(ToMessage(reading ? live->state : record.state));
  Progress progress = ProgressOf(record);
  if (live.has_value() && (!finished || live->state == store::DocumentState::kActive)) {
    progress.tokens_done = live->progress.tokens_done;
    progress.tokens_reused = live->progress.tokens_reused;
    progress.eta_seconds = live->progress.eta_seconds;
  }
  *out.mutable_progress() = ToMessage(progress);
  *out.mutable_create_time() = ToTimestamp(record.create_time_us);
  *out.mutable_update_time() = ToTimestamp(record.update_time_us);
  if (record.expire_time_us != 0) {
    *out.mutable_expire_time() = ToTimestamp(record.expire_time_us);
  }
  out.set_text_bytes(record.text_bytes);
  out.set_token_count(record.token_count);
  if (record.state != store::DocumentState::kCreating) {
    out.set_text_sha256(record.text_sha256.data(), record.text_sha256.size());
  }
  out.set_failure(record.failure_message);
  out.set_etag(Etag(record));
  return out;
}

absl::StatusOr<UploadRequest> FromMessage(const v1::UploadHeader& header) {
  UploadRequest request;
  request.id = header.document_id();
  request.display_name = header.display_name();
  request.labels = LabelsOf(header.labels());
  request.request_id = header.request_id();
  request.write_offset = header.write_offset();
  request.total_bytes = header.total_bytes();
  absl::StatusOr<int64_t> expire_time = ExpireTime(header);
  if (!expire_time.ok()) {
    return expire_time.status();
  }
  request.expire_time_us = *expire_time;
  if (!request.id.empty()) {
    if (absl::Status status = CheckDocumentId(request.id, "document_id"); !status.ok()) {
      return status;
    }
  }
  if (absl::Status status = CheckDisplayName(request.display_name); !status.ok()) {
    return status;
  }
  if (absl::Status status = CheckLabels(request.labels); !status.ok()) {
    return status;
  }
  if (request.request_id.size() > 64) {
    return InvalidField("request_id", "at most 64 bytes");
  }
  if (request.write_offset < 0) {
    return InvalidField("write_offset", "must not be negative");
  }
  if (request.total_bytes < 0) {
    return InvalidField("total_bytes", "must not be negative");
  }
  return request;
}

absl::StatusOr<DocumentChange> FromMessage(const v1::UpdateDocumentRequest& request) {
  DocumentChange change;
  change.etag = request.document().etag();
  if (request.update_mask().paths().empty()) {
    return InvalidField("update_mask", "name the fields to change");
  }
  if (request.update_mask().paths_size() > kMostMaskPaths) {
    return InvalidField("update_mask", absl::StrCat("at most ", kMostMaskPaths, " paths"));
  }
  for (const std::string& path : request.update_mask().paths()) {
    if (path == "display_name") {
      change.display_name = request.document().display_name();
    } else if (path == "labels") {
      change.labels = LabelsOf(request.document().labels());
    } else if (path == "expire_time" || path == "ttl") {
      absl::StatusOr<int64_t> time = ExpireTime(request.document());
      if (!time.ok()) {
        return time.status();
      }
      change.expire_time_us = *time;
    } else {
      return InvalidField(
          "update_mask",
          absl::StrCat("only display_name, labels, expire_time and ttl can be changed, not ",
                       path));
    }
  }
  return change;
}

}  // namespace longleaf::service
