// A store with its model on a disk that loses what is not synced: crashing it, opening it again,
// and everything that must hold then.
#ifndef LONGLEAF_TESTS_CRASH_CRASH_FIXTURE_H_
#define LONGLEAF_TESTS_CRASH_CRASH_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/crash/lossy_file_system.h"
#include "tests/crash/store_audit.h"
#include "tests/unit/cache_store/store_operations.h"

namespace longleaf::store {

class CrashFixture : public StoreModelFixture {
 protected:
  // What the environment asks for in the long form of a test, or the quick form's number.
  static int FromEnvironment(const char* name, int quick) {
    const char* const value = std::getenv(name);
    return value == nullptr ? quick : std::atoi(value);
  }

  void SetUp() override { Begin(); }

  // A new, empty store.
  void Begin() {
    store_.reset();
    NewDisk();
    std::filesystem::remove_all(options_.path);
    model_ = StoreModel();
    alternatives_.clear();
    Reopen();
  }

  void NewDisk() {
    file_system_ = nullptr;
    disk_ = std::make_shared<LossyFileSystem>(options_.path + ".attic");
    disk_->SetFault(fault_);
    file_system_ = disk_;
  }

  // The process dies now, if the disk does not stand still already. The store is closed.
  void Crash(uint64_t seed) {
    disk_->Freeze();
    store_.reset();
    ASSERT_TRUE(disk_->LoseUnsynced(seed));
    NewDisk();
  }

  // To be called with the store open again after a crash: it is what the model says, with or
  // without the operations that were not acknowledged, and that is the model from now on.
  void Resolve() {
    std::string why;
    std::vector<StoreModel> candidates = {model_};
    candidates.insert(candidates.end(), alternatives_.begin(), alternatives_.end());
    for (StoreModel& candidate : candidates) {
      // The operation in flight may have evicted some.
      if (!alternatives_.empty() && options_.disk_cap_bytes != 0) {
        std::erase_if(candidate.snapshots,
                      [&](const auto& entry) { return !store_->ContainsSnapshot(entry.first); });
      }
      const std::string difference = Difference(candidate);
      if (difference.empty()) {
        model_ = std::move(candidate);
        alternatives_.clear();
        return;
      }
      why += "\n  " + difference;
    }
    ADD_FAILURE() << "neither what was acknowledged nor that and what was in flight:" << why;
  }

  // Closes the store, counts everything by hand, and opens it again: nothing may be left to clean.
  void Audit() {
    store_->WaitForReclaim();
    const StoreStats stats = store_->Stats();
    EXPECT_FALSE(stats.damaged_log);
    EXPECT_EQ(stats.damaged_documents, 0);
    EXPECT_EQ(stats.damaged_files_removed, 0);
    store_.reset();
    EXPECT_THAT(Disagreements(AuditStore(options_.path), stats), ::testing::IsEmpty());
    Reopen();
    ASSERT_NE(store_, nullptr);
    EXPECT_EQ(store_->Stats().orphan_segments_removed, 0);
    EXPECT_EQ(store_->Stats().drops.count(DropReason::kCorrupt), 0u);
  }

  // All of it, after a crash.
  void Recover() {
    Reopen();
    ASSERT_NE(store_, nullptr);
    EXPECT_EQ(store_->Stats().drops.count(DropReason::kCorrupt), 0u);
    Resolve();
    Audit();
    ASSERT_NE(store_, nullptr);
    EXPECT_EQ(Difference(model_), "");
  }

  LossyFileSystem::Fault fault_;
  std::shared_ptr<LossyFileSystem> disk_;
};

}  // namespace longleaf::store

#endif  // LONGLEAF_TESTS_CRASH_CRASH_FIXTURE_H_
