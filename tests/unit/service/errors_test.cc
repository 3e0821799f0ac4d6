#include "service/errors.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "service/grpc_status.h"

namespace longleaf::service {
namespace {

TEST(Errors, DetailsTravelInTheStatus) {
  const absl::Status status = WithDetails(
      absl::FailedPreconditionError("not yet"),
      {.reason = reason::kNotActive, .metadata = {{"tokens_done", "7"}}, .retry_seconds = 2.5});
  const ErrorDetails details = DetailsOf(status);
  EXPECT_EQ(details.reason, "DOCUMENT_NOT_ACTIVE");
  EXPECT_EQ(details.metadata.at("tokens_done"), "7");
  EXPECT_EQ(details.retry_seconds, 2.5);
  EXPECT_TRUE(DetailsOf(absl::InternalError("plain")).reason.empty());
}

TEST(Errors, BrokenUtf8InAMessageIsNotThrownAt) {
  EXPECT_EQ(DetailsOf(InvalidField("field\xff", "bad")).reason, "INVALID_FIELD");
}

TEST(Errors, WhatTheStoreSaysGetsAReason) {
  EXPECT_EQ(DetailsOf(FromStore(absl::NotFoundError(""), "x")).reason, "DOCUMENT_NOT_FOUND");
  EXPECT_EQ(FromStore(absl::OutOfRangeError(""), "x").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailsOf(FromStore(absl::ResourceExhaustedError(""), "x")).quota_subject, "disk");
  EXPECT_TRUE(FromStore(absl::OkStatus(), "x").ok());
  const absl::Status own = WithDetails(absl::AbortedError("x"), {.reason = reason::kEtagMismatch});
  EXPECT_EQ(DetailsOf(FromStore(own, "x")).reason, "ETAG_MISMATCH");
}

TEST(Errors, EveryDetailReachesTheWire) {
  const grpc::Status status =
      ToGrpc(WithDetails(absl::ResourceExhaustedError("full"), {.reason = reason::kDiskFull,
                                                                .field = "chunk",
                                                                .retry_seconds = 1.5,
                                                                .quota_subject = "disk"}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::Status message;
  ASSERT_TRUE(message.ParseFromString(status.error_details()));
  EXPECT_EQ(message.code(), 8);
  ASSERT_EQ(message.details_size(), 4);
  google::rpc::ErrorInfo info;
  google::rpc::BadRequest request;
  google::rpc::RetryInfo retry;
  google::rpc::QuotaFailure quota;
  ASSERT_TRUE(message.details(0).UnpackTo(&info));
  ASSERT_TRUE(message.details(1).UnpackTo(&request));
  ASSERT_TRUE(message.details(2).UnpackTo(&retry));
  ASSERT_TRUE(message.details(3).UnpackTo(&quota));
  EXPECT_EQ(info.domain(), "longleaf");
  EXPECT_EQ(request.field_violations(0).field(), "chunk");
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
  EXPECT_EQ(quota.violations(0).subject(), "disk");
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
}

}  // namespace
}  // namespace longleaf::service
