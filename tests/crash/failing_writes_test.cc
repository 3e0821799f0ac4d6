// The disk runs full or fails at one operation of a script that does all that a store does, once or
// from there on: every call answers, what was acknowledged stays readable, and when the disk is
// well again the store is, without a restart; after a restart nothing else is found.
// LONGLEAF_CRASH_ALL: every disk operation, not only a few.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>

#include "tests/crash/crash_script.h"

namespace longleaf::store {
namespace {

enum class Trouble { kFullOnce, kFull, kBrokenOnce, kBroken };

class FailingWritesTest : public CrashScript, public ::testing::WithParamInterface<Trouble> {
 protected:
  FailingWritesTest() {
    fault_ = [this](DiskOperation operation, const std::string& path) {
      const int64_t now = ++operations_;
      if (now < first_ || now > last_) return rocksdb::IOStatus::OK();
      const std::string what = path + ": " + std::string(DiskOperationName(operation));
      return full() ? rocksdb::IOStatus::NoSpace(what) : rocksdb::IOStatus::IOError(what);
    };
  }

  // The few operations of the quick form are not the same for every trouble.
  static int64_t FirstOf(int64_t stride) {
    return FirstOperation() + static_cast<int64_t>(GetParam()) * (stride / 4);
  }

  static bool full() { return GetParam() == Trouble::kFullOnce || GetParam() == Trouble::kFull; }
  static bool once() {
    return GetParam() == Trouble::kFullOnce || GetParam() == Trouble::kBrokenOnce;
  }
  static void ExpectTrouble(const absl::Status& status) {
    EXPECT_TRUE(absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) << status;
  }

  void FailAt(int64_t operation) {
    first_ = std::numeric_limits<int64_t>::max();
    operations_ = 0;
    last_ = once() ? operation : std::numeric_limits<int64_t>::max();
    first_ = operation;
  }
  void Heal() { first_ = std::numeric_limits<int64_t>::max(); }

  // The store comes back by itself; until then it refuses.
  void WaitUntilWell() {
    for (int64_t i = 0; i < 10'000'000; ++i) {
      if (!store_->Stats().writes_failing) {
        const auto result =
            store_->UpdateDocument("t", "well", [](DocumentRecord&) { return absl::OkStatus(); });
        if (absl::IsNotFound(result.status())) {
          if (CreateOne({"t", "well"}, "").ok()) return;
        } else if (result.ok()) {
          return;
        }
      }
      std::this_thread::yield();
    }
    ADD_FAILURE() << "does not come back";
  }

  std::atomic<int64_t> operations_{0};
  std::atomic<int64_t> first_{std::numeric_limits<int64_t>::max()};
  std::atomic<int64_t> last_{0};
};

TEST_P(FailingWritesTest, NothingIsLostAndTheStoreComesBack) {
  const int64_t stride = All() ? 1 : 223;
  for (int64_t operation = FirstOf(stride);; operation += stride) {
    SCOPED_TRACE(testing::Message() << "operation " << operation);
    Heal();
    Begin();
    FailAt(operation);
    RunScript([this](const absl::Status& status) {
      ExpectTrouble(status);
      if (store_ == nullptr) {
        Heal();
      } else {
        EXPECT_EQ(DifferenceOfData(model_), "");
      }
    });
    const bool reached = operations_ >= operation;
    Heal();
    ASSERT_FALSE(HasFailure());
    if (!reached) {
      EXPECT_GT(operation, 100);
      return;
    }
    WaitUntilWell();
    EXPECT_EQ(DifferenceOfData(model_), "");
    Audit();
    EXPECT_EQ(Difference(model_), "");
    ASSERT_FALSE(HasFailure());
  }
}

TEST_P(FailingWritesTest, AStoreThatCannotBeOpenedCanBeLater) {
  store_.reset();
  const int64_t stride = All() ? 1 : 29;
  for (int64_t operation = FirstOf(stride);; operation += stride) {
    SCOPED_TRACE(testing::Message() << "operation " << operation);
    std::filesystem::remove_all(options_.path);
    NewDisk();
    FailAt(operation);
    absl::StatusOr<std::unique_ptr<Store>> opened = OpenWithFileSystem(options_, file_system_);
    const bool reached = operations_ >= operation;
    Heal();
    if (opened.ok()) {
      store_ = *std::move(opened);
    } else {
      ExpectTrouble(opened.status());
      Reopen();
    }
    WaitUntilWell();
    model_ = StoreModel();
    model_.documents[{"t", "well"}] = {};
    Audit();
    EXPECT_EQ(Difference(model_), "");
    store_.reset();
    model_ = StoreModel();
    ASSERT_FALSE(HasFailure());
    if (!reached) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Troubles, FailingWritesTest,
                         ::testing::Values(Trouble::kFullOnce, Trouble::kFull, Trouble::kBrokenOnce,
                                           Trouble::kBroken),
                         [](const auto& trouble) {
                           switch (trouble.param) {
                             case Trouble::kFullOnce:
                               return "full_once";
                             case Trouble::kFull:
                               return "full";
                             case Trouble::kBrokenOnce:
                               return "broken_once";
                             case Trouble::kBroken:
                               return "broken";
                           }
                           return "";
                         });

}  // namespace
}  // namespace longleaf::store
