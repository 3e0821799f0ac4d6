// Errors with what a client can act on: a reason from a fixed list, and details. They travel inside
// absl::Status as payloads, so that nothing below the gRPC layer knows gRPC; grpc_status.h turns
// them into google.rpc details.
#ifndef LONGLEAF_SERVICE_ERRORS_H_
#define LONGLEAF_SERVICE_ERRORS_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace longleaf::service {

// Reasons are part of the contract: UPPER_SNAKE, never renamed.
namespace reason {
inline constexpr char kInvalidField[] = "INVALID_FIELD";
inline constexpr char kMalformedMessage[] = "MALFORMED_MESSAGE";
inline constexpr char kMessageTooLarge[] = "MESSAGE_TOO_LARGE";
inline constexpr char kNotUtf8[] = "NOT_UTF8";
inline constexpr char kEmptyDocument[] = "EMPTY_DOCUMENT";
inline constexpr char kOffsetMismatch[] = "OFFSET_MISMATCH";
inline constexpr char kUploadIncomplete[] = "UPLOAD_INCOMPLETE";
inline constexpr char kUploadIdle[] = "UPLOAD_IDLE";
inline constexpr char kDocumentTooLong[] = "DOCUMENT_TOO_LONG";
inline constexpr char kQuestionTooLong[] = "QUESTION_TOO_LONG";
inline constexpr char kNotFound[] = "DOCUMENT_NOT_FOUND";
inline constexpr char kExpired[] = "DOCUMENT_EXPIRED";
inline constexpr char kAlreadyExists[] = "DOCUMENT_ALREADY_EXISTS";
inline constexpr char kNotActive[] = "DOCUMENT_NOT_ACTIVE";
inline constexpr char kDocumentFailed[] = "DOCUMENT_FAILED";
inline constexpr char kEtagMismatch[] = "ETAG_MISMATCH";
inline constexpr char kQueueFull[] = "QUEUE_FULL";
inline constexpr char kDeadline[] = "DEADLINE_EXCEEDED";
inline constexpr char kDeadlineTooShort[] = "DEADLINE_TOO_SHORT";
inline constexpr char kCancelled[] = "CANCELLED";
inline constexpr char kDiskFull[] = "DISK_FULL";
inline constexpr char kOutOfMemory[] = "OUT_OF_MEMORY";
inline constexpr char kDraining[] = "DRAINING";
inline constexpr char kTextDamaged[] = "TEXT_DAMAGED";
inline constexpr char kStoreUnavailable[] = "STORE_UNAVAILABLE";
inline constexpr char kInternal[] = "INTERNAL";
}  // namespace reason

struct ErrorDetails {
  std::string reason;
  std::map<std::string, std::string> metadata;
  std::string field;          // not empty: the request's field that is wrong (BadRequest)
  double retry_seconds = -1;  // >= 0: when another try makes sense (RetryInfo)
  std::string quota_subject;  // not empty: whose quota is spent (QuotaFailure)
};

// `status` must not be OK.
absl::Status WithDetails(absl::Status status, const ErrorDetails& details);
// Empty reason when the status has no details.
ErrorDetails DetailsOf(const absl::Status& status);

absl::Status Error(absl::StatusCode code, absl::string_view reason, absl::string_view message);
// INVALID_ARGUMENT naming the request's field.
absl::Status InvalidField(absl::string_view field, absl::string_view description);
absl::Status QueueFull(absl::string_view message, double retry_seconds);
absl::Status NoSuchDocument(absl::string_view id);

// Gives what the store says about a document its reason. OK stays OK.
absl::Status FromStore(absl::Status status, absl::string_view document_id);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_ERRORS_H_
