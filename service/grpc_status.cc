#include "service/grpc_status.h"

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "service/errors.h"
#include "service/time_conversion.h"

namespace longleaf::service {

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) {
    return grpc::Status::OK;
  }
  const ErrorDetails details = DetailsOf(status);
  google::rpc::Status message;
  message.set_code(static_cast<int>(status.code()));
  message.set_message(std::string(status.message()));

  google::rpc::ErrorInfo info;
  info.set_reason(details.reason.empty() ? reason::kInternal : details.reason);
  info.set_domain("longleaf");
  info.mutable_metadata()->insert(details.metadata.begin(), details.metadata.end());
  message.add_details()->PackFrom(info);
  if (!details.field.empty()) {
    google::rpc::BadRequest request;
    auto* violation = request.add_field_violations();
    violation->set_field(details.field);
    violation->set_description(std::string(status.message()));
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
    violation->set_description(std::string(status.message()));
    message.add_details()->PackFrom(quota);
  }
  // absl's codes are gRPC's.
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      message.SerializeAsString());
}

}  // namespace longleaf::service
