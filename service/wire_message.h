// Requests and responses as bytes. The handlers take requests unparsed, because gRPC would answer
// bytes that are no message, and strings that are not UTF-8, with UNIMPLEMENTED and not a word, and
// because each rpc has its own limit, which holds before anything is parsed.
#ifndef LONGLEAF_SERVICE_WIRE_MESSAGE_H_
#define LONGLEAF_SERVICE_WIRE_MESSAGE_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "absl/status/status.h"

namespace longleaf::service {

// Enough for every request but a question and the text of an upload.
inline constexpr int64_t kMaxRequestBytes = 64 << 10;

// INVALID_ARGUMENT for more than `limit` bytes (MESSAGE_TOO_LARGE), and for bytes that are no such
// message, or have a string that is not UTF-8 (MALFORMED_MESSAGE). A null `bytes` is malformed: a
// call without its message.
absl::Status ParseRequest(const grpc::ByteBuffer* bytes, int64_t limit,
                          google::protobuf::Message* request);

grpc::ByteBuffer SerializeResponse(const google::protobuf::Message& response);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_WIRE_MESSAGE_H_
