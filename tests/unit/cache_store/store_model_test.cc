// Random operations on the store and on its model (store_operations.h), with restarts in between:
// every operation must end as the model's, and after every restart the two must agree on
// everything. Crashes and failing disks come on top in tests/crash.
#include <gtest/gtest.h>

#include <cstdint>

#include "tests/unit/cache_store/store_operations.h"

namespace longleaf::store {
namespace {

class StoreModelTest : public StoreModelFixture, public ::testing::WithParamInterface<int> {};

TEST_P(StoreModelTest, TheStoreDoesWhatTheMapDoes) {
  random_.seed(static_cast<uint64_t>(GetParam()));
  for (int step = 0; step < 250 && !HasFailure(); ++step) {
    SCOPED_TRACE(step);
    ASSERT_OK(RandomStep());
    if (Pick(36) == 0) {
      Reopen();
      ASSERT_EQ(Difference(model_), "");
      EXPECT_EQ(store_->Stats().orphan_segments_removed, 0);
    }
  }
  Reopen();
  EXPECT_EQ(Difference(model_), "");
}

INSTANTIATE_TEST_SUITE_P(Seeds, StoreModelTest, ::testing::Range(1, 5));

}  // namespace
}  // namespace longleaf::store
