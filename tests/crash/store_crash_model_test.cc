// Random operations on the store and its model, with crashes at random disk operations, torn writes
// and clean restarts in between. After each, the store is what was acknowledged.
// LONGLEAF_CRASH_SEEDS: how many sequences to run, and these are longer.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>

#include "tests/crash/crash_fixture.h"

namespace longleaf::store {
namespace {

constexpr int kQuickSeeds = 2;
constexpr int kQuickSteps = 75;
constexpr int kSteps = 150;

class StoreCrashModelTest : public CrashFixture {
 protected:
  StoreCrashModelTest() {
    fault_ = [this](DiskOperation, const std::string&) {
      if (--until_crash_ == 0) disk_->Freeze();
      return rocksdb::IOStatus::OK();
    };
  }

  void Run(int seed, int steps) {
    random_.seed(static_cast<uint64_t>(seed));
    until_crash_ = -1;
    options_.disk_cap_bytes = seed % 2 == 0 ? 150'000 : 0;
    Begin();
    until_crash_ = 1 + Pick(200);
    for (int step = 0; step < steps && !HasFailure(); ++step) {
      SCOPED_TRACE(step);
      const absl::Status status = RandomStep();
      if (disk_->frozen() || Pick(40) == 0) {
        CrashAndRecover();
      } else if (absl::IsResourceExhausted(status) && options_.disk_cap_bytes != 0) {
        alternatives_.clear();  // refused before anything was written
      } else {
        ASSERT_OK(status);
      }
      if (Pick(40) == 0) Restart();
    }
  }

  void Restart() {
    store_.reset();
    if (disk_->frozen()) {
      CrashAndRecover();
      return;
    }
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenWithFileSystem(options_, file_system_);
    if (opened.ok()) store_ = *std::move(opened);
    if (disk_->frozen()) {
      CrashAndRecover();
      return;
    }
    ASSERT_OK(opened.status());
    EXPECT_EQ(Difference(model_), "");
    if (disk_->frozen()) CrashAndRecover();
  }

  // Crashes again during recovery, now and then.
  void CrashAndRecover() {
    for (;;) {
      Crash(Pick(3) == 0 ? 0 : random_());
      if (Pick(3) != 0) break;
      until_crash_ = 1 + Pick(60);
      absl::StatusOr<std::unique_ptr<Store>> opened = OpenWithFileSystem(options_, file_system_);
      if (opened.ok()) store_ = *std::move(opened);
    }
    until_crash_ = -1;
    Recover();
    until_crash_ = 1 + Pick(400);
  }

  std::atomic<int64_t> until_crash_{-1};
};

TEST_F(StoreCrashModelTest, WhatWasAcknowledgedOutlivesEveryCrash) {
  const int long_form = FromEnvironment("LONGLEAF_CRASH_SEEDS", 0);
  const int seeds = long_form > 0 ? long_form : kQuickSeeds;
  for (int seed = 1; seed <= seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Run(seed, long_form > 0 ? kSteps : kQuickSteps);
  }
}

}  // namespace
}  // namespace longleaf::store
