#include "service/state_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "kernels/reference.h"

namespace longleaf::service {
namespace {

using ::testing::ElementsAre;

class StateCacheTest : public ::testing::Test {
 protected:
  const kernels::StateShape kShape = {1, 1, 1, 2, kernels::AttentionPolicy::Full()};

  std::shared_ptr<LiveDocument> Document(const std::string& id, double reload_seconds = 1,
                                         int64_t tokens = 64) {
    auto document = std::make_shared<LiveDocument>();
    document->name = {"t", id};
    document->state = *backend_.NewState(kShape);
    EXPECT_TRUE(backend_.PrepareImport(*document->state, tokens, 0).ok());
    document->reload_seconds = reload_seconds;
    return document;
  }
  // The documents that are held, in the order in which they would go.
  std::vector<std::string> Order(std::vector<std::string> ids) {
    std::vector<std::string> gone;
    while (cache_.EvictOne()) {
      for (const std::string& id : std::exchange(ids, {})) {
        (cache_.Holds(Name(id)) ? ids : gone).push_back(id);
      }
    }
    return gone;
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

TEST_F(StateCacheTest, WhatIsDearToHaveBackStaysLonger) {
  cache_.Insert(Document("read again", 100));
  cache_.Insert(Document("on disk", 0.1));
  cache_.Insert(Document("on disk, too", 0.1));
  EXPECT_THAT(Order({"read again", "on disk", "on disk, too"}),
              ElementsAre("on disk", "on disk, too", "read again"));
}

TEST_F(StateCacheTest, ForEachByteThatItFrees) {
  cache_.Insert(Document("short", 1, 64));
  cache_.Insert(Document("long", 1, 640));
  EXPECT_THAT(Order({"short", "long"}), ElementsAre("long", "short"));
}

TEST_F(StateCacheTest, WhatIsDearGoesInTheEndIfNobodyUsesIt) {
  cache_.Insert(Document("dear", 10));
  for (int i = 0; i < 100 && cache_.Holds(Name("dear")); ++i) {
    cache_.Insert(Document("cheap", 1));
    EXPECT_NE(cache_.Find(Name("cheap")), nullptr);
    EXPECT_TRUE(cache_.EvictOne());
  }
  EXPECT_FALSE(cache_.Holds(Name("dear")));
}

TEST_F(StateCacheTest, BytesAreThoseOfTheStatesHeld) {
  EXPECT_EQ(cache_.bytes(), 0);
  const std::shared_ptr<LiveDocument> a = Document("a", 1, 100);
  const std::shared_ptr<LiveDocument> b = Document("b", 1, 200);
  cache_.Insert(a);
  cache_.Insert(b);
  EXPECT_EQ(cache_.bytes(), a->state->bytes() + b->state->bytes());
  cache_.Insert(Document("a", 1, 300));  // in place of the other
  cache_.Erase(Name("b"));
  EXPECT_EQ(cache_.bytes(), cache_.Find(Name("a"))->state->bytes());
  EXPECT_TRUE(cache_.EvictOne());
  EXPECT_EQ(cache_.bytes(), 0);
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
  EXPECT_EQ(held->state->tokens(), 64);
  EXPECT_FALSE(cache_.EvictOne());
}

}  // namespace
}  // namespace longleaf::service
