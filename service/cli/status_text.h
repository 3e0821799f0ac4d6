// What the server said went wrong, in one line for a person and in an exit code for a script.
#ifndef LONGLEAF_SERVICE_CLI_STATUS_TEXT_H_
#define LONGLEAF_SERVICE_CLI_STATUS_TEXT_H_

#include <grpcpp/support/status.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace longleaf::service::cli {

// "NOT_FOUND"
std::string CodeName(grpc::StatusCode code);

// A grpc::Status with its google.rpc details decoded.
struct Failure {
  grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
  std::string message;  // as sent: not yet safe for a terminal
  std::string reason;   // ErrorInfo.reason; empty when the status did not come from Longleaf
  std::optional<absl::Duration> retry_delay;
  struct Violation {
    std::string subject;
    std::string description;
  };
  std::vector<Violation> violations;  // of fields, quotas, preconditions
  bool quota = false;                 // a quota is spent, which waiting does not mend
};

// `status` is not OK. Details that cannot be parsed are ignored.
Failure DecodeFailure(const grpc::Status& status);

// The transport failed, not the server: no connection, or a connection that broke.
bool IsTransportFailure(const Failure& failure);

// "longleaf: <message> (<REASON>)\n", one line without control characters. The reason is the status
// code's name when there is no ErrorInfo. `server` is named when it could not be reached.
std::string ErrorLine(const Failure& failure, const std::string& server);

// The same form for what went wrong on this side.
std::string LocalErrorLine(const std::string& message);

// An ExitCode.
int ExitCodeFor(const Failure& failure);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_STATUS_TEXT_H_
