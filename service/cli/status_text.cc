#include "service/cli/status_text.h"

#include <array>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "service/cli/exit_code.h"
#include "service/cli/quantity.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {
namespace {

// By number, as in grpc::StatusCode.
constexpr std::array<const char*, 17> kCodeNames = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

void DecodeDetail(const google::protobuf::Any& any, Failure* failure) {
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  google::rpc::BadRequest bad_request;
  google::rpc::QuotaFailure quota;
  google::rpc::PreconditionFailure precondition;
  if (any.UnpackTo(&info)) {
    failure->reason = info.reason();
  } else if (any.UnpackTo(&retry)) {
    failure->retry_delay = absl::Seconds(retry.retry_delay().seconds()) +
                           absl::Nanoseconds(retry.retry_delay().nanos());
  } else if (any.UnpackTo(&bad_request)) {
    for (const auto& violation : bad_request.field_violations()) {
      failure->violations.push_back({violation.field(), violation.description()});
    }
  } else if (any.UnpackTo(&quota)) {
    failure->quota = true;
    for (const auto& violation : quota.violations()) {
      failure->violations.push_back({violation.subject(), violation.description()});
    }
  } else if (any.UnpackTo(&precondition)) {
    for (const auto& violation : precondition.violations()) {
      failure->violations.push_back({violation.subject(), violation.description()});
    }
  }
}

// gRPC names every layer that an error passed; the cause is the last one.
std::string LastCause(const std::string& message) {
  const size_t colon = message.rfind(": ");
  return colon == std::string::npos ? message : message.substr(colon + 2);
}

bool NeverConnected(const std::string& message) {
  return absl::StrContains(message, "failed to connect to all addresses") ||
         absl::StrContains(message, "DNS resolution failed") ||
         absl::StrContains(message, "empty address list");
}

// Only this side's clock ends calls with a status that has no reason of Longleaf's.
bool IsOwnDeadline(const Failure& failure) {
  return failure.code == grpc::StatusCode::DEADLINE_EXCEEDED && failure.reason.empty();
}

std::string TransportMessage(const Failure& failure, const std::string& server) {
  if (NeverConnected(failure.message)) {
    return absl::StrCat("cannot reach a server at ", server, ": ", LastCause(failure.message));
  }
  return absl::StrCat("lost the connection to ", server, ": ", failure.message);
}

}  // namespace

std::string CodeName(grpc::StatusCode code) {
  const auto number = static_cast<size_t>(code);
  return number < kCodeNames.size() ? kCodeNames[number] : absl::StrCat("CODE_", number);
}

Failure DecodeFailure(const grpc::Status& status) {
  Failure failure;
  failure.code = status.error_code();
  failure.message = status.error_message();
  google::rpc::Status rich;
  if (rich.ParseFromString(status.error_details())) {
    for (const google::protobuf::Any& any : rich.details()) {
      DecodeDetail(any, &failure);
    }
  }
  return failure;
}

bool IsTransportFailure(const Failure& failure) {
  return failure.code == grpc::StatusCode::UNAVAILABLE && failure.reason.empty();
}

std::string ErrorLine(const Failure& failure, const std::string& server) {
  std::string text = IsTransportFailure(failure) ? TransportMessage(failure, server)
                     : IsOwnDeadline(failure)    ? "not done in the time that --timeout gives"
                                                 : failure.message;
  for (const Failure::Violation& violation : failure.violations) {
    // Servers often say in the message what the violation says.
    const std::string& what =
        violation.description.empty() ? violation.subject : violation.description;
    if (absl::StrContains(text, what)) {
      continue;
    }
    absl::StrAppend(&text, text.empty() ? "" : "; ");
    if (!violation.subject.empty() && !violation.description.empty()) {
      absl::StrAppend(&text, violation.subject, ": ");
    }
    text += what;
  }
  if (text.empty()) {
    text = "the server gave no explanation";
  }
  if (failure.retry_delay.has_value()) {
    absl::StrAppend(&text, "; try again in ", FormatSpan(*failure.retry_delay));
  }
  const std::string reason = failure.reason.empty() ? CodeName(failure.code) : failure.reason;
  return LocalErrorLine(absl::StrCat(text, " (", reason, ")"));
}

std::string LocalErrorLine(const std::string& message) {
  return absl::StrCat("longleaf: ", EscapeLine(message), "\n");
}

int ExitCodeFor(const Failure& failure) {
  switch (failure.code) {
    case grpc::StatusCode::OK:
      return kOk;
    case grpc::StatusCode::UNAVAILABLE:
      return IsTransportFailure(failure) ? kUnreachable : kTryLater;
    case grpc::StatusCode::NOT_FOUND:
      return kNotFound;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return kTryLater;
    case grpc::StatusCode::FAILED_PRECONDITION:
      // A failed document stays failed.
      return failure.reason == "DOCUMENT_FAILED" ? kRefused : kTryLater;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return failure.quota ? kRefused : kTryLater;
    default:
      return kRefused;
  }
}

}  // namespace longleaf::service::cli
