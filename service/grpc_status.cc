#include "service/grpc_status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "google/rpc/error_details.pb.h"
#include "service/errors.h"
#include "service/time_conversion.h"

namespace longleaf::service {
namespace {

// A message may quote the request. It travels three times, escaped once, in trailers of which
// clients take 8 KiB in all: longer ones would reach them as another error.
std::string Bounded(absl::string_view message) {
  constexpr size_t kMost = 512;
  if (message.size() <= kMost) {
    return std::string(message);
  }
  size_t end = kMost;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xc0) == 0x80) {
    --end;
  }
  return absl::StrCat(message.substr(0, end), "...");
}

// The reason where whoever made the status named none.
std::string ReasonOf(const absl::Status& status, const ErrorDetails& details) {
  if (!details.reason.empty()) {
    return details.reason;
  }
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      return reason::kCancelled;
    case absl::StatusCode::kDeadlineExceeded:
      return reason::kDeadline;
    case absl::StatusCode::kResourceExhausted:
      return reason::kOutOfMemory;
    default:
      return reason::kInternal;
  }
}

}  // namespace

google::rpc::Status ToMessage(const absl::Status& status) {
  google::rpc::Status message;
  if (status.ok()) {
    return message;
  }
  const ErrorDetails details = DetailsOf(status);
  const std::string text = Bounded(status.message());
  message.set_code(static_cast<int>(status.code()));  // absl's codes are gRPC's
  message.set_message(text);

  google::rpc::ErrorInfo info;
  info.set_reason(ReasonOf(status, details));
  info.set_domain("longleaf");
  info.mutable_metadata()->insert(details.metadata.begin(), details.metadata.end());
  message.add_details()->PackFrom(info);
  if (!details.field.empty()) {
    google::rpc::BadRequest request;
    auto* violation = request.add_field_violations();
    violation->set_field(details.field);
    violation->set_description(text);
    message.add_details()->PackFrom(request);
  }
  if (details.retry_seconds >= 0) {
    google::rpc::RetryInfo retry;
    *retry.mutable_retry_delay() = ToDuration(details.retry_seconds);
    message.add_details()->PackFrom(retry);
  }
  if (!details.quota_subject.empty()) {
    google::rpc::QuotaFailure quota;
    auto* violation = quota.add_violations();
    violation->set_subject(details.quota_subject);
    violation->set_description(text);
    message.add_details()->PackFrom(quota);
  }
  return message;
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) {
    return grpc::Status::OK;
  }
  const google::rpc::Status message = ToMessage(status);
  return grpc::Status(static_cast<grpc::StatusCode>(message.code()), message.message(),
                      message.SerializeAsString());
}

}  // namespace longleaf::service
