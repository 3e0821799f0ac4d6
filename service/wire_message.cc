#include "service/wire_message.h"

#include <grpcpp/impl/codegen/proto_utils.h>

#include "absl/strings/str_cat.h"
#include "service/errors.h"

namespace longleaf::service {
namespace {

absl::Status Malformed(const google::protobuf::Message& request) {
  return WithDetails(
      absl::InvalidArgumentError(absl::StrCat("not a ", request.GetTypeName(),
                                              ": broken bytes, or a string that is not UTF-8")),
      {.reason = reason::kMalformedMessage, .field = "request"});
}

}  // namespace

absl::Status ParseRequest(const grpc::ByteBuffer* bytes, int64_t limit,
                          google::protobuf::Message* request) {
  if (bytes == nullptr || !bytes->Valid()) {
    return Malformed(*request);
  }
  const auto size = static_cast<int64_t>(bytes->Length());
  if (size > limit) {
    return WithDetails(
        absl::InvalidArgumentError(absl::StrCat("a ", request->GetTypeName(), " of ", size,
                                                " bytes; the limit is ", limit)),
        {.reason = reason::kMessageTooLarge,
         .metadata = {{"bytes", absl::StrCat(size)}, {"limit", absl::StrCat(limit)}},
         .field = "request"});
  }
  grpc::ByteBuffer copy = *bytes;  // reading empties it; the bytes themselves are shared
  const grpc::Status parsed =
      grpc::GenericDeserialize<grpc::ProtoBufferReader, google::protobuf::Message>(&copy, request);
  return parsed.ok() ? absl::OkStatus() : Malformed(*request);
}

grpc::ByteBuffer SerializeResponse(const google::protobuf::Message& response) {
  grpc::ByteBuffer bytes;
  bool own = false;
  // Cannot fail: our messages are far below 2 GB.
  (void)grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(response, &bytes,
                                                                                   &own);
  return bytes;
}

}  // namespace longleaf::service
