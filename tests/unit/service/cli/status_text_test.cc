#include "service/cli/status_text.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "service/cli/exit_code.h"

namespace longleaf::service::cli {
namespace {

// A status as a server sends it, with the given details.
class StatusBuilder {
 public:
  StatusBuilder(grpc::StatusCode code, const std::string& message) : code_(code) {
    rich_.set_code(code);
    rich_.set_message(message);
  }
  StatusBuilder& Reason(const std::string& reason) {
    google::rpc::ErrorInfo info;
    info.set_reason(reason);
    info.set_domain("longleaf");
    return Add(info);
  }
  StatusBuilder& Add(const google::protobuf::Message& detail) {
    rich_.add_details()->PackFrom(detail);
    return *this;
  }
  grpc::Status Build() const {
    return grpc::Status(code_, rich_.message(), rich_.SerializeAsString());
  }

 private:
  const grpc::StatusCode code_;
  google::rpc::Status rich_;
};

std::string Line(const grpc::Status& status) {
  return ErrorLine(DecodeFailure(status), "127.0.0.1:7070");
}
int Code(const grpc::Status& status) { return ExitCodeFor(DecodeFailure(status)); }

TEST(ErrorLine, HasTheReason) {
  const grpc::Status status = StatusBuilder(grpc::NOT_FOUND, "no document documents/whale")
                                  .Reason("DOCUMENT_NOT_FOUND")
                                  .Build();
  EXPECT_EQ(Line(status), "longleaf: no document documents/whale (DOCUMENT_NOT_FOUND)\n");
  EXPECT_EQ(Code(status), kNotFound);
}

TEST(ErrorLine, SaysWhenToTryAgain) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(2);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  const grpc::Status status = StatusBuilder(grpc::RESOURCE_EXHAUSTED, "the queue is full")
                                  .Reason("QUEUE_FULL")
                                  .Add(retry)
                                  .Build();
  EXPECT_EQ(Line(status), "longleaf: the queue is full; try again in 2.5 s (QUEUE_FULL)\n");
  EXPECT_EQ(Code(status), kTryLater);
}

TEST(ErrorLine, NamesFieldsOnce) {
  google::rpc::BadRequest bad;
  auto* violation = bad.add_field_violations();
  violation->set_field("sampling.top_p");
  violation->set_description("must be in (0, 1]");
  EXPECT_EQ(Line(StatusBuilder(grpc::INVALID_ARGUMENT, "invalid request")
                     .Reason("INVALID_FIELD")
                     .Add(bad)
                     .Build()),
            "longleaf: invalid request; sampling.top_p: must be in (0, 1] (INVALID_FIELD)\n");
  EXPECT_EQ(Line(StatusBuilder(grpc::INVALID_ARGUMENT, "sampling.top_p: must be in (0, 1]")
                     .Reason("INVALID_FIELD")
                     .Add(bad)
                     .Build()),
            "longleaf: sampling.top_p: must be in (0, 1] (INVALID_FIELD)\n");
  EXPECT_EQ(Line(StatusBuilder(grpc::INVALID_ARGUMENT, "top_p must be in (0, 1]")
                     .Reason("INVALID_FIELD")
                     .Add(bad)
                     .Build()),
            "longleaf: top_p must be in (0, 1] (INVALID_FIELD)\n");
}

TEST(ErrorLine, TellsQuotaFromQueue) {
  google::rpc::QuotaFailure quota;
  quota.add_violations()->set_subject("disk");
  const grpc::Status status = StatusBuilder(grpc::RESOURCE_EXHAUSTED, "the disk cap is reached")
                                  .Reason("DISK_FULL")
                                  .Add(quota)
                                  .Build();
  EXPECT_EQ(Code(status), kRefused);
  EXPECT_EQ(Line(status), "longleaf: the disk cap is reached (DISK_FULL)\n");
}

TEST(ErrorLine, ShowsPreconditions) {
  google::rpc::PreconditionFailure precondition;
  auto* violation = precondition.add_violations();
  violation->set_type("PROGRESS");
  violation->set_subject("documents/whale");
  violation->set_description("12 of 90 tokens read");
  const grpc::Status status = StatusBuilder(grpc::FAILED_PRECONDITION, "not active yet")
                                  .Reason("DOCUMENT_NOT_ACTIVE")
                                  .Add(precondition)
                                  .Build();
  EXPECT_EQ(Line(status),
            "longleaf: not active yet; documents/whale: 12 of 90 tokens read "
            "(DOCUMENT_NOT_ACTIVE)\n");
  EXPECT_EQ(Code(status), kTryLater);
  EXPECT_EQ(Code(StatusBuilder(grpc::FAILED_PRECONDITION, "").Reason("DOCUMENT_FAILED").Build()),
            kRefused);
}

TEST(ErrorLine, IsOneSafeLine) {
  EXPECT_EQ(Line(grpc::Status(grpc::INTERNAL, "bad\nthing \x1b[31m")),
            "longleaf: bad\\nthing \\x1b[31m (INTERNAL)\n");
  EXPECT_EQ(Line(grpc::Status(grpc::INTERNAL, "")),
            "longleaf: the server gave no explanation (INTERNAL)\n");
}

TEST(ErrorLine, ExplainsItsOwnDeadline) {
  EXPECT_EQ(Line(grpc::Status(grpc::DEADLINE_EXCEEDED, "Deadline Exceeded")),
            "longleaf: not done in the time that --timeout gives (DEADLINE_EXCEEDED)\n");
}

TEST(ErrorLine, IgnoresDetailsThatCannotBeParsed) {
  EXPECT_EQ(Line(grpc::Status(grpc::INTERNAL, "oops", "\xff\xff\xff")),
            "longleaf: oops (INTERNAL)\n");
}

TEST(ErrorLine, TellsTransportFromServer) {
  const grpc::Status refused(grpc::UNAVAILABLE,
                             "failed to connect to all addresses; last error: UNKNOWN: "
                             "ipv4:127.0.0.1:7070: Failed to connect to remote host: Connection "
                             "refused");
  EXPECT_EQ(Line(refused),
            "longleaf: cannot reach a server at 127.0.0.1:7070: Connection refused "
            "(UNAVAILABLE)\n");
  EXPECT_EQ(Code(refused), kUnreachable);
  const grpc::Status broken(grpc::UNAVAILABLE, "Socket closed");
  EXPECT_EQ(Line(broken),
            "longleaf: lost the connection to 127.0.0.1:7070: Socket closed (UNAVAILABLE)\n");
  EXPECT_EQ(Code(broken), kUnreachable);
  const grpc::Status draining =
      StatusBuilder(grpc::UNAVAILABLE, "the server is draining").Reason("DRAINING").Build();
  EXPECT_EQ(Line(draining), "longleaf: the server is draining (DRAINING)\n");
  EXPECT_EQ(Code(draining), kTryLater);
}

TEST(ExitCodeFor, EveryOtherCode) {
  EXPECT_EQ(Code(grpc::Status(grpc::ALREADY_EXISTS, "")), kRefused);
  EXPECT_EQ(Code(grpc::Status(grpc::DATA_LOSS, "")), kRefused);
  EXPECT_EQ(Code(grpc::Status(grpc::UNIMPLEMENTED, "")), kRefused);
  EXPECT_EQ(Code(grpc::Status(grpc::DEADLINE_EXCEEDED, "")), kTryLater);
}

}  // namespace
}  // namespace longleaf::service::cli
