// Many threads at once: uploads, readers, commits and evictions. The thread sanitizer watches, and
// what every thread reads must be whole.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {
namespace {

class ConcurrencyTest : public StoreTest {
 protected:
  static void Together(const std::vector<std::function<void()>>& work) {
    std::vector<std::thread> threads;
    for (const auto& each : work) threads.emplace_back(each);
    for (std::thread& thread : threads) thread.join();
  }
};

TEST_F(ConcurrencyTest, OneRequestIdMakesOneDocument) {
  std::atomic<int> created = 0;
  std::vector<std::function<void()>> work;
  for (int i = 0; i < 8; ++i) {
    work.emplace_back([&, i] {
      const auto result = store_->CreateDocument("t", Wanted("id" + std::to_string(i), "r"), {});
      ASSERT_TRUE(result.ok()) << result.status();
      if (result->created) ++created;
    });
  }
  Together(work);
  EXPECT_EQ(created, 1);
  EXPECT_EQ(store_->ListDocuments("t", 100, "")->documents.size(), 1u);
}

TEST_F(ConcurrencyTest, AppendsAtOneOffsetHappenOnce) {
  Create("a");
  std::atomic<int> done = 0;
  std::vector<std::function<void()>> work;
  for (int i = 0; i < 8; ++i) {
    work.emplace_back([&] {
      const absl::Status status = AppendText("a", 0, "hello");
      if (status.ok())
        ++done;
      else
        EXPECT_CODE(status, kOutOfRange);
    });
  }
  Together(work);
  EXPECT_EQ(done, 1);
  EXPECT_EQ(*store_->ReadText("t", "a", 0, 100), "hello");
}

TEST_F(ConcurrencyTest, CompareAndSetLosesNothing) {
  Create("a");
  std::vector<std::function<void()>> work;
  for (int i = 0; i < 4; ++i) {
    work.emplace_back([&] {
      for (int j = 0; j < 10; ++j) {
        ASSERT_TRUE(store_
                        ->UpdateDocument("t", "a",
                                         [](DocumentRecord& record) {
                                           record.display_name += "x";
                                           return absl::OkStatus();
                                         })
                        .ok());
      }
    });
  }
  Together(work);
  EXPECT_EQ(store_->GetDocument("t", "a")->display_name.size(), 40u);
  EXPECT_EQ(store_->GetDocument("t", "a")->revision, 41);
}

TEST_F(ConcurrencyTest, ReadersWritersAndEviction) {
  options_.disk_cap_bytes = 400'000;
  Reopen();
  constexpr int kStates = 8;
  const auto tokens = [](int number) { return SomeTokens(20 + number, number); };
  std::atomic<int> reads = 0;
  std::atomic<bool> stop = false;
  std::vector<std::function<void()>> work;
  for (int t = 0; t < 2; ++t) {
    work.emplace_back([&, t] {                      // writers
      for (int i = 0; i < 24 || reads == 0; ++i) {  // not over before the readers saw anything
        const auto committed = Commit(tokens((i * 3 + t) % kStates), 60'000, 500);
        if (!committed.ok()) EXPECT_CODE(committed, kResourceExhausted);
      }
      stop = true;
    });
    work.emplace_back([&, t] {  // readers
      ValueBuffer buffer;
      for (int i = t; !stop; ++i) {
        const auto found = store_->FindSnapshot(KeyOf(tokens(i % kStates)));
        if (!found.ok()) continue;
        ASSERT_EQ(*ReadAll(**found, 0), SomeText(60'000, 1));
        ++reads;
        if (i % 5 == 0) {
          EXPECT_OK(store_->DropSnapshot((*found)->key(), DropReason::kUnreadable));
        }
      }
    });
  }
  work.emplace_back([&] {  // uploads
    for (int i = 0; i < 6; ++i) {
      const std::string id = "doc" + std::to_string(i);
      Create(id);
      EXPECT_OK(AppendText(id, 0, SomeText(20'000, 9)));
      EXPECT_EQ(*store_->ReadText("t", id, 0, 20'000), SomeText(20'000, 9));
      EXPECT_OK(store_->DeleteDocument("t", id));
    }
  });
  work.emplace_back([&] {  // the metrics page
    while (!stop) {
      const StoreStats stats = store_->Stats();
      EXPECT_LE(stats.text_bytes + stats.token_bytes + stats.snapshot_bytes,
                options_.disk_cap_bytes);
    }
  });
  Together(work);
  EXPECT_GT(reads, 0);
  Reopen();
  EXPECT_EQ(store_->Stats().orphan_segments_removed, 0);
  EXPECT_EQ(store_->Stats().drops.count(DropReason::kCorrupt), 0u);
}

}  // namespace
}  // namespace longleaf::store
