// The store stopped dead at every named point (write_point.h), and at every disk operation, of a
// script that does all that a store does; opening again included.
// LONGLEAF_CRASH_ALL: each passing of a point and each disk operation, not only a few.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "tests/crash/crash_script.h"

namespace longleaf::store {
namespace {

class StoreCrashTest : public CrashScript, public ::testing::WithParamInterface<WritePoint> {};

TEST_P(StoreCrashTest, WhatWasAcknowledgedIsThereAndNothingElse) {
  std::atomic<int64_t> left{0};
  options_.at_point = [&](WritePoint point) {
    if (point == GetParam() && --left == 0) disk_->Freeze();
  };
  for (int64_t passing = 1; passing == 1 || All(); ++passing) {
    SCOPED_TRACE(testing::Message() << "passing " << passing);
    left = -1;
    Begin();
    left = passing;
    const bool crashed = RunScript();
    left = -1;
    ASSERT_FALSE(HasFailure());
    if (!crashed) {
      EXPECT_GT(passing, 1) << "never reached";
      return;
    }
    Crash(static_cast<uint64_t>(passing - 1));
    Recover();
    ASSERT_FALSE(HasFailure());
  }
}

INSTANTIATE_TEST_SUITE_P(Points, StoreCrashTest, ::testing::ValuesIn(kWritePoints),
                         [](const auto& point) {
                           return std::string(WritePointName(point.param));
                         });

class DiskCrashTest : public CrashScript {};

TEST_F(DiskCrashTest, AtEveryOperationOfTheDisk) {
  std::atomic<int64_t> left{0};
  fault_ = [&](DiskOperation, const std::string&) {
    if (--left == 0) disk_->Freeze();
    return rocksdb::IOStatus::OK();
  };
  const int64_t stride = All() ? 1 : 139;
  for (int64_t operation = FirstOperation();; operation += stride) {
    SCOPED_TRACE(testing::Message() << "operation " << operation);
    left = -1;
    Begin();
    left = operation;
    const bool crashed = RunScript();
    left = -1;
    ASSERT_FALSE(HasFailure());
    if (!crashed) {
      EXPECT_GT(operation, 100);
      return;
    }
    Crash(static_cast<uint64_t>(operation % 3 == 0 ? 0 : operation));
    Recover();
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace longleaf::store
