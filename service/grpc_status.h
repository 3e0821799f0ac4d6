// The one place where an absl::Status becomes what a gRPC client sees.
#ifndef LONGLEAF_SERVICE_GRPC_STATUS_H_
#define LONGLEAF_SERVICE_GRPC_STATUS_H_

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace longleaf::service {

// Code, message (at most 512 bytes of it), and google.rpc details: ErrorInfo always (domain
// "longleaf"; where the status names no reason, one by its code, else INTERNAL), BadRequest,
// RetryInfo and QuotaFailure where the status has them.
grpc::Status ToGrpc(const absl::Status& status);
// The same as a message, for a failure inside of a response. Code and no more for OK.
google::rpc::Status ToMessage(const absl::Status& status);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_GRPC_STATUS_H_
