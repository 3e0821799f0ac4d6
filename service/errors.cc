#include "service/errors.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace longleaf::service {
namespace {

constexpr char kPayload[] = "longleaf/error-details";

}  // namespace

absl::Status WithDetails(absl::Status status, const ErrorDetails& details) {
  const nlohmann::json json = {{"reason", details.reason},
                               {"metadata", details.metadata},
                               {"field", details.field},
                               {"retry_seconds", details.retry_seconds},
                               {"quota_subject", details.quota_subject}};
  // Names from a request may be broken UTF-8: replaced rather than thrown at.
  status.SetPayload(
      kPayload, absl::Cord(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
  return status;
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  if (!payload.has_value()) {
    return details;
  }
  const nlohmann::json json = nlohmann::json::parse(std::string(*payload), nullptr, false);
  if (json.is_discarded()) {
    return details;
  }
  details.reason = json.value("reason", "");
  details.metadata = json.value("metadata", std::map<std::string, std::string>());
  details.field = json.value("field", "");
  details.retry_seconds = json.value("retry_seconds", -1.0);
  details.quota_subject = json.value("quota_subject", "");
  return details;
}

absl::Status Error(absl::StatusCode code, absl::string_view reason, absl::string_view message) {
  return WithDetails(absl::Status(code, message), {.reason = std::string(reason)});
}

absl::Status InvalidField(absl::string_view field, absl::string_view description) {
  return WithDetails(absl::InvalidArgumentError(absl::StrCat(field, ": ", description)),
                     {.reason = reason::kInvalidField, .field = std::string(field)});
}

absl::Status QueueFull(absl::string_view message, double retry_seconds) {
  return WithDetails(absl::ResourceExhaustedError(message),
                     {.reason = reason::kQueueFull, .retry_seconds = retry_seconds});
}

absl::Status NoSuchDocument(absl::string_view id) {
  return Error(absl::StatusCode::kNotFound, reason::kNotFound,
               absl::StrCat("no document documents/", id));
}

absl::Status FromStore(absl::Status status, absl::string_view document_id) {
  switch (status.code()) {
    case absl::StatusCode::kNotFound:
      return NoSuchDocument(document_id);
    case absl::StatusCode::kAlreadyExists:
      return WithDetails(status, {.reason = reason::kAlreadyExists});
    case absl::StatusCode::kOutOfRange:
      return WithDetails(absl::InvalidArgumentError(status.message()),
                         {.reason = reason::kOffsetMismatch, .field = "write_offset"});
    case absl::StatusCode::kResourceExhausted:
      return WithDetails(status, {.reason = reason::kDiskFull, .quota_subject = "disk"});
    case absl::StatusCode::kUnavailable:
      return WithDetails(status, {.reason = reason::kStoreUnavailable, .retry_seconds = 5});
    case absl::StatusCode::kDataLoss:
      return WithDetails(status, {.reason = reason::kTextDamaged});
    case absl::StatusCode::kOk:
      return status;
    default:
      return DetailsOf(status).reason.empty() ? WithDetails(status, {.reason = reason::kInternal})
                                              : status;
  }
}

}  // namespace longleaf::service
