// Requests and responses as bytes. The handlers take requests unparsed, because gRPC would answer
// bytes that are no message, and strings that are not UTF-8, with UNIMPLEMENTED and not a word, and
// because each rpc has its own limit, which holds before anything is parsed.
#ifndef LONGLEAF_SERVICE_WIRE_MESSAGE_H_
#define LONGLEAF_SERVICE_WIRE_MESSAGE_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"

namespace longleaf::service {

// Enough for every request but a question and the text of an upload.
inline constexpr int64_t kMaxRequestBytes = 64 << 10;

// For a batch of questions: room for sixteen of the longest. Small fields, of which a message can
// have very many, grow some thirty times when they are parsed, so it is not more than that.
inline int64_t MaxBatchBytes(int64_t max_question_bytes, int64_t max_batch_questions) {
  constexpr int64_t kMost = int64_t{1} << 40;  // no overflow, whatever the operator sets
  return kMaxRequestBytes +
         std::min<int64_t>(max_batch_questions, 16) * std::min(max_question_bytes, kMost);
}

// INVALID_ARGUMENT for more than `limit` bytes (MESSAGE_TOO_LARGE), and for bytes that are no such
// message, or have a string that is not UTF-8 (MALFORMED_MESSAGE). A null `bytes` is malformed: a
// call without its message.
absl::Status ParseRequest(const grpc::ByteBuffer* bytes, int64_t limit,
                          google::protobuf::Message* request);

grpc::ByteBuffer SerializeResponse(const google::protobuf::Message& response);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_WIRE_MESSAGE_H_
