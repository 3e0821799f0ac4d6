#include "service/state_cache.h"

#include <gtest/gtest.h>

#include "kernels/reference.h"

namespace longleaf::service {
namespace {

class StateCacheTest : public ::testing::Test {
 protected:
  std::shared_ptr<LiveDocument> Document(const std::string& id) {
    auto document = std::make_shared<LiveDocument>();
    document->name = {"t", id};
    document->state = *backend_.NewState({1, 1, 1, 2, kernels::AttentionPolicy::Full()});
    return document;
  }
  store::DocumentName Name(const std::string& id) { return {"t", id}; }

  kernels::ReferenceBackend backend_{1 << 20};
  StateCache cache_;
};

TEST_F(StateCacheTest, TheLeastRecentlyUsedGoesFirst) {
  for (const char* id : {"a", "b", "c"}) {
    cache_.Insert(Document(id));
  }
  EXPECT_NE(cache_.Find(Name("a")), nullptr);  // used: b is the oldest now
  EXPECT_TRUE(cache_.EvictOne());
  EXPECT_EQ(cache_.Find(Name("b")), nullptr);
  EXPECT_TRUE(cache_.EvictOne());
  EXPECT_EQ(cache_.Find(Name("c")), nullptr);
  EXPECT_NE(cache_.Find(Name("a")), nullptr);
}

TEST_F(StateCacheTest, WhatIsInUseStays) {
  cache_.Insert(Document("a"));
  const std::shared_ptr<LiveDocument> held = cache_.Find(Name("a"));
  EXPECT_FALSE(cache_.EvictOne());
  EXPECT_EQ(cache_.Find(Name("a")), held);
}

TEST_F(StateCacheTest, ErasedIsGoneButLivesOnWithItsHolder) {
  cache_.Insert(Document("a"));
  const std::shared_ptr<LiveDocument> held = cache_.Find(Name("a"));
  cache_.Erase(Name("a"));
  EXPECT_EQ(cache_.Find(Name("a")), nullptr);
  EXPECT_EQ(held->state->tokens(), 0);
  EXPECT_FALSE(cache_.EvictOne());
}

}  // namespace
}  // namespace longleaf::service
