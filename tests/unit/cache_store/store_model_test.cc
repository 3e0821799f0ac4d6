// Random operations on the store and on a plain map beside it, with restarts in between: after
// every step the two must agree on what was touched, and after every restart on everything.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {
namespace {

struct ModelDocument {
  std::string text;
  std::vector<TextToken> tokens;
  std::string display_name;
  std::string request_id;
  DocumentState state = DocumentState::kCreating;
  int64_t expire_time_us = 0;
};

struct ModelSnapshot {
  std::vector<std::string> segments;
  std::set<std::string> claims;
};

class StoreModelTest : public StoreTest, public ::testing::WithParamInterface<int> {
 protected:
  using Documents = std::map<DocumentName, ModelDocument>;

  int Pick(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }
  std::string PickTenant() { return Pick(2) == 0 ? "t" : "u"; }
  std::string PickId() { return std::string(1, static_cast<char>('a' + Pick(6))); }
  ModelDocument* Find(const DocumentName& name) {
    const auto found = documents_.find(name);
    return found == documents_.end() ? nullptr : &found->second;
  }

  void CreateOne() {
    const DocumentName name{PickTenant(), PickId()};
    DocumentRecord wanted = Wanted(name.id, Pick(2) == 0 ? "r" + std::to_string(Pick(4)) : "");
    wanted.expire_time_us = Pick(3) * 1000;
    const auto result = store_->CreateDocument(name.tenant, wanted, {});
    for (const auto& [other, document] : documents_) {
      if (other.tenant == name.tenant && !wanted.request_id.empty() &&
          document.request_id == wanted.request_id) {
        ASSERT_TRUE(result.ok()) << result.status();
        EXPECT_FALSE(result->created);
        EXPECT_EQ(result->record.id, other.id);
        return;
      }
    }
    if (Find(name) != nullptr) {
      EXPECT_CODE(result, kAlreadyExists);
      return;
    }
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE(result->created);
    documents_[name].request_id = wanted.request_id;
    documents_[name].expire_time_us = wanted.expire_time_us;
  }

  void AppendOne() {
    const DocumentName name{PickTenant(), PickId()};
    ModelDocument* const document = Find(name);
    const std::string text = SomeText(Pick(3000), random_());
    UploadPart part;
    std::vector<TextToken> tokens;
    if (document != nullptr) {
      part.write_offset = static_cast<int64_t>(document->text.size());
      part.first_token = static_cast<int64_t>(document->tokens.size());
      int64_t end = document->tokens.empty() ? 0 : document->tokens.back().end_byte;
      const int64_t all = part.write_offset + static_cast<int64_t>(text.size());
      while (Pick(20) != 0 && end < all) {
        end = std::min<int64_t>(all, end + Pick(9));
        tokens.push_back({Pick(50'000), end});
      }
      part.tokenized_bytes = end;
    }
    const bool wrong = Pick(8) == 0;
    part.text = text;
    part.tokens = tokens;
    part.write_offset += wrong ? 1 : 0;
    const auto result = store_->AppendUpload(name.tenant, name.id, part);
    if (document == nullptr) {
      EXPECT_CODE(result, kNotFound);
    } else if (document->state != DocumentState::kCreating && !text.empty()) {
      EXPECT_CODE(result, kFailedPrecondition);
    } else if (wrong) {
      EXPECT_CODE(result, kOutOfRange);
    } else {
      ASSERT_TRUE(result.ok()) << result.status();
      document->text += text;
      document->tokens.insert(document->tokens.end(), tokens.begin(), tokens.end());
    }
  }

  void FinalizeOne() {
    const DocumentName name{PickTenant(), PickId()};
    ModelDocument* const document = Find(name);
    const int64_t size = document == nullptr ? 0 : static_cast<int64_t>(document->text.size());
    const auto result = store_->FinalizeUpload(name.tenant, name.id, size);
    ASSERT_EQ(result.ok(), document != nullptr) << result.status();
    if (document != nullptr && document->state == DocumentState::kCreating) {
      document->state = DocumentState::kQueued;
    }
  }

  void UpdateOne() {
    const DocumentName name{PickTenant(), PickId()};
    ModelDocument* const document = Find(name);
    const std::string display_name = SomeText(Pick(10), random_());
    const auto result = store_->UpdateDocument(name.tenant, name.id, [&](DocumentRecord& record) {
      record.display_name = display_name;
      if (record.state == DocumentState::kQueued) record.state = DocumentState::kActive;
      return absl::OkStatus();
    });
    ASSERT_EQ(result.ok(), document != nullptr) << result.status();
    if (document == nullptr) return;
    document->display_name = display_name;
    if (document->state == DocumentState::kQueued) document->state = DocumentState::kActive;
  }

  void DeleteOne() {
    const DocumentName name{PickTenant(), PickId()};
    const absl::Status status = store_->DeleteDocument(name.tenant, name.id);
    ASSERT_EQ(status.ok(), documents_.erase(name) == 1) << status;
    for (auto at = snapshots_.begin(); at != snapshots_.end();) {
      const bool had = at->first.tenant == name.tenant && at->second.claims.erase(name.id) == 1;
      at = had && at->second.claims.empty() ? snapshots_.erase(at) : std::next(at);
    }
  }

  void CommitOne() {
    const DocumentName name{PickTenant(), PickId()};
    const int64_t count = 10 * (1 + Pick(5));
    CommitSpec spec;
    spec.key = KeyOf(SomeTokens(count, Pick(3)), name.tenant);
    ModelSnapshot model;
    // Sometimes over the segments of another snapshot, as checkpoints do.
    SnapshotPtr base;
    if (Pick(2) == 0 && !snapshots_.empty()) {
      const SnapshotKey& key =
          std::next(snapshots_.begin(), Pick(static_cast<int>(snapshots_.size())))->first;
      if (key.tenant == name.tenant && key.token_count <= count) {
        base = *store_->FindSnapshot(key);
        for (size_t i = 0; i < base->cores().size(); ++i) {
          spec.segments.push_back(base->cores()[i]);
          model.segments.push_back(snapshots_.at(key).segments[i]);
        }
      }
    }
    const int64_t first = spec.segments.empty() ? 0 : spec.segments.back()->info().last_token;
    for (const SegmentKind kind : {SegmentKind::kCore, SegmentKind::kTail}) {
      const std::string bytes = SomeText(Pick(9000), random_());
      const auto segment = WriteSegment(kind, first, count, bytes, name.tenant);
      ASSERT_TRUE(segment.ok()) << segment.status();
      spec.segments.push_back(*segment);
      model.segments.push_back(bytes);
    }
    spec.document_id = Pick(2) == 0 ? name.id : "";
    const bool replace = Pick(3) == 0 && base != nullptr;
    if (replace) spec.replaces = base->key();
    const auto result = store_->CommitSnapshot(spec);
    if (!spec.document_id.empty() && Find(name) == nullptr) {
      EXPECT_CODE(result, kNotFound);
      return;
    }
    ASSERT_TRUE(result.ok()) << result.status();
    if (replace && base->key() != spec.key) {
      std::set<std::string>& claims = snapshots_.at(base->key()).claims;
      claims.erase(spec.document_id);
      if (claims.empty()) snapshots_.erase(base->key());
    }
    const auto [at, is_new] = snapshots_.try_emplace(spec.key, model);
    if (!spec.document_id.empty()) at->second.claims.insert(spec.document_id);
  }

  void DropOne() {
    if (snapshots_.empty()) return;
    const auto at = std::next(snapshots_.begin(), Pick(static_cast<int>(snapshots_.size())));
    ASSERT_OK(store_->DropSnapshot(at->first, DropReason::kUnreadable));
    snapshots_.erase(at);
  }

  void CompareEverything() {
    std::map<DocumentState, int64_t> states;
    int64_t text_bytes = 0;
    for (const std::string tenant : {"t", "u"}) {
      std::string resume;
      std::vector<std::string> ids;
      do {
        const auto page = store_->ListDocuments(tenant, 2, resume);
        ASSERT_TRUE(page.ok()) << page.status();
        for (const DocumentRecord& record : page->documents) ids.push_back(record.id);
        resume = page->resume_key;
      } while (!resume.empty());
      std::vector<std::string> expected;
      for (const auto& [name, document] : documents_) {
        if (name.tenant == tenant) expected.push_back(name.id);
      }
      ASSERT_EQ(ids, expected);
    }
    for (const auto& [name, document] : documents_) {
      const auto record = store_->GetDocument(name.tenant, name.id);
      ASSERT_TRUE(record.ok()) << record.status();
      EXPECT_EQ(record->display_name, document.display_name);
      EXPECT_EQ(record->state, document.state);
      EXPECT_EQ(record->expire_time_us, document.expire_time_us);
      EXPECT_EQ(*store_->ReadText(name.tenant, name.id, 0, 1 << 20), document.text);
      EXPECT_EQ(*store_->ReadTokens(name.tenant, name.id, 0, 1 << 20), document.tokens);
      ++states[document.state];
      text_bytes += static_cast<int64_t>(document.text.size());
    }
    std::set<int64_t> ids;
    int64_t snapshot_bytes = 0;
    for (const auto& [key, model] : snapshots_) {
      const auto snapshot = store_->FindSnapshot(key);
      ASSERT_TRUE(snapshot.ok()) << snapshot.status();
      ASSERT_EQ((*snapshot)->segments().size(), model.segments.size());
      for (size_t i = 0; i < model.segments.size(); ++i) {
        EXPECT_EQ(*ReadAll(**snapshot, static_cast<int64_t>(i)), model.segments[i]);
        const SegmentInfo& info = (*snapshot)->segments()[i]->info();
        if (ids.insert(info.id).second) snapshot_bytes += info.stored_bytes;
      }
    }
    store_->WaitForReclaim();
    const StoreStats stats = store_->Stats();
    EXPECT_EQ(stats.snapshots, static_cast<int64_t>(snapshots_.size()));
    EXPECT_EQ(stats.snapshot_bytes, snapshot_bytes);
    EXPECT_EQ(stats.text_bytes, text_bytes);
    for (const auto& [state, count] : stats.documents) EXPECT_EQ(count, states[state]);
  }

  std::mt19937_64 random_;
  Documents documents_;
  std::map<SnapshotKey, ModelSnapshot> snapshots_;
};

TEST_P(StoreModelTest, TheStoreDoesWhatTheMapDoes) {
  random_.seed(static_cast<uint64_t>(GetParam()));
  for (int step = 0; step < 250 && !HasFatalFailure(); ++step) {
    SCOPED_TRACE(step);
    switch (Pick(12)) {
      case 0:
      case 1:
        CreateOne();
        break;
      case 2:
      case 3:
      case 4:
        AppendOne();
        break;
      case 5:
        FinalizeOne();
        break;
      case 6:
        UpdateOne();
        break;
      case 7:
        DeleteOne();
        break;
      case 8:
      case 9:
        CommitOne();
        break;
      case 10:
        DropOne();
        break;
      case 11:
        if (Pick(3) == 0) {
          Reopen();
          CompareEverything();
          EXPECT_EQ(store_->Stats().orphan_segments_removed, 0);
        }
        break;
    }
  }
  Reopen();
  CompareEverything();
}

INSTANTIATE_TEST_SUITE_P(Seeds, StoreModelTest, ::testing::Range(1, 5));

}  // namespace
}  // namespace longleaf::store
