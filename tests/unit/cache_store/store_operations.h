// Operations that go to the store and to its model alike, each by hand or at random.
//
// An operation that the disk refuses (RESOURCE_EXHAUSTED, UNAVAILABLE) leaves the model as it was
// and notes what it would have become: after a crash the store may be either, but nothing else.
#ifndef LONGLEAF_TESTS_UNIT_CACHE_STORE_STORE_OPERATIONS_H_
#define LONGLEAF_TESTS_UNIT_CACHE_STORE_STORE_OPERATIONS_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/cache_store/store_model.h"

namespace longleaf::store {

class StoreModelFixture : public StoreModelTestBase {
 protected:
  struct Checkpoint {
    SnapshotKey key;
    std::optional<SnapshotKey> base;  // its core segments are taken over
    bool replace_base = false;
    std::string document_id;
    int64_t core_bytes = 0;
    int64_t tail_bytes = 0;
    uint64_t seed = 1;
  };

  // ---- Operations. OK: done, or refused as the model refuses it. Otherwise the disk's trouble.

  absl::Status CreateOne(const DocumentName& name, const std::string& request_id,
                         int64_t expire_time_us = 0) {
    StoreModel after = model_;
    DocumentRecord wanted = Wanted(name.id, request_id);
    wanted.expire_time_us = expire_time_us;
    const auto result = store_->CreateDocument(name.tenant, wanted, {});
    if (const DocumentName* earlier = model_.FindRequest(name.tenant, request_id)) {
      if (result.ok() && (result->created || result->record.id != earlier->id)) {
        ADD_FAILURE() << "request " << request_id << " made " << result->record.id;
      }
      return Settle(result.status(), absl::StatusCode::kOk, std::move(after));
    }
    if (model_.Find(name) != nullptr) {
      return Settle(result.status(), absl::StatusCode::kAlreadyExists, std::move(after));
    }
    after.documents[name].request_id = request_id;
    after.documents[name].expire_time_us = expire_time_us;
    return Settle(result.status(), absl::StatusCode::kOk, std::move(after));
  }

  // Tokens follow the committed ones; the last one ends where the text is tokenised to.
  absl::Status AppendOne(const DocumentName& name, const std::string& text,
                         const std::vector<TextToken>& tokens, int64_t wrong_by = 0) {
    StoreModel after = model_;
    ModelDocument* const document = after.Find(name);
    UploadPart part;
    part.text = text;
    part.tokens = tokens;
    part.write_offset = wrong_by;
    absl::StatusCode expected = absl::StatusCode::kNotFound;
    if (document != nullptr) {
      part.write_offset += static_cast<int64_t>(document->text.size());
      part.first_token = static_cast<int64_t>(document->tokens.size());
      if (!document->tokens.empty()) part.tokenized_bytes = document->tokens.back().end_byte;
      if (!tokens.empty()) part.tokenized_bytes = tokens.back().end_byte;
      expected = document->state != DocumentState::kCreating && !text.empty()
                     ? absl::StatusCode::kFailedPrecondition
                 : wrong_by != 0 ? absl::StatusCode::kOutOfRange
                                 : absl::StatusCode::kOk;
      document->text += text;
      document->tokens.insert(document->tokens.end(), tokens.begin(), tokens.end());
    }
    const auto result = store_->AppendUpload(name.tenant, name.id, part);
    return Settle(result.status(), expected, std::move(after));
  }

  absl::Status FinalizeOne(const DocumentName& name) {
    StoreModel after = model_;
    ModelDocument* const document = after.Find(name);
    const int64_t size = document == nullptr ? 0 : static_cast<int64_t>(document->text.size());
    if (document != nullptr && document->state == DocumentState::kCreating) {
      document->state = DocumentState::kQueued;
    }
    const auto result = store_->FinalizeUpload(name.tenant, name.id, size);
    return Settle(result.status(), OkIf(document != nullptr), std::move(after));
  }

  absl::Status UpdateOne(const DocumentName& name, const std::string& display_name) {
    StoreModel after = model_;
    ModelDocument* const document = after.Find(name);
    if (document != nullptr) {
      document->display_name = display_name;
      if (document->state == DocumentState::kQueued) document->state = DocumentState::kActive;
    }
    const auto result = store_->UpdateDocument(name.tenant, name.id, [&](DocumentRecord& record) {
      record.display_name = display_name;
      if (record.state == DocumentState::kQueued) record.state = DocumentState::kActive;
      return absl::OkStatus();
    });
    return Settle(result.status(), OkIf(document != nullptr), std::move(after));
  }

  absl::Status ResetOne(const DocumentName& name) {
    StoreModel after = model_;
    ModelDocument* const document = after.Find(name);
    if (document != nullptr) document->tokens.clear();
    const auto result = store_->ResetTokens(name.tenant, name.id, {});
    return Settle(result.status(), OkIf(document != nullptr), std::move(after));
  }

  absl::Status DeleteOne(const DocumentName& name) {
    StoreModel after = model_;
    const bool existed = after.Find(name) != nullptr;
    after.DeleteDocument(name);
    return Settle(store_->DeleteDocument(name.tenant, name.id), OkIf(existed), std::move(after));
  }

  absl::Status CommitOne(const Checkpoint& wanted) {
    StoreModel after = model_;
    CommitSpec spec;
    spec.key = wanted.key;
    spec.document_id = wanted.document_id;
    ModelSnapshot made;
    if (wanted.base.has_value()) {
      const auto base = store_->FindSnapshot(*wanted.base);
      if (!base.ok()) {
        ADD_FAILURE() << base.status();
        return base.status();
      }
      for (size_t i = 0; i < (*base)->cores().size(); ++i) {
        spec.segments.push_back((*base)->cores()[i]);
        made.segments.push_back(model_.snapshots.at(*wanted.base).segments[i]);
      }
      if (wanted.replace_base) spec.replaces = wanted.base;
    }
    const int64_t first = spec.segments.empty() ? 0 : spec.segments.back()->info().last_token;
    for (const SegmentKind kind : {SegmentKind::kCore, SegmentKind::kTail}) {
      const bool is_core = kind == SegmentKind::kCore;
      const std::string bytes = SomeText(is_core ? wanted.core_bytes : wanted.tail_bytes,
                                         wanted.seed + (is_core ? 0 : 1));
      const auto segment =
          WriteSegment(kind, first, wanted.key.token_count, bytes, wanted.key.tenant);
      if (!segment.ok()) return Settle(segment.status(), absl::StatusCode::kOk, std::move(after));
      spec.segments.push_back(*segment);
      made.segments.push_back(bytes);
    }
    NoteEvictions();  // for the segments; the base, pinned, is still there
    after = model_;
    const bool possible = wanted.document_id.empty() ||
                          after.Find({wanted.key.tenant, wanted.document_id}) != nullptr;
    if (possible) {
      if (wanted.replace_base && *wanted.base != wanted.key) {
        after.LetGo(*wanted.base, wanted.document_id);
      }
      ModelSnapshot& stored = after.snapshots.try_emplace(wanted.key, made).first->second;
      if (!wanted.document_id.empty()) stored.claims.insert(wanted.document_id);
    }
    const absl::Status status = store_->CommitSnapshot(spec).status();
    return Settle(status, OkIf(possible), std::move(after));
  }

  absl::Status DropOne(const SnapshotKey& key) {
    StoreModel after = model_;
    after.snapshots.erase(key);
    return Settle(store_->DropSnapshot(key, DropReason::kUnreadable), absl::StatusCode::kOk,
                  std::move(after));
  }

  // ---- At random

  int Pick(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }
  DocumentName PickName() {
    return {Pick(2) == 0 ? "t" : "u", std::string(1, static_cast<char>('a' + Pick(6)))};
  }

  absl::Status RandomStep() {
    const DocumentName name = PickName();
    switch (Pick(12)) {
      case 0:
      case 1:
        return CreateOne(name, Pick(2) == 0 ? "r" + std::to_string(Pick(4)) : "", Pick(3) * 1000);
      case 2:
      case 3:
      case 4:
        return RandomAppend(name);
      case 5:
        return FinalizeOne(name);
      case 6:
        return UpdateOne(name, SomeText(Pick(10), random_()));
      case 7:
        return Pick(4) == 0 ? ResetOne(name) : DeleteOne(name);
      case 8:
      case 9:
      case 10:
        return RandomCommit(name);
      default:
        if (model_.snapshots.empty()) return absl::OkStatus();
        return DropOne(PickSnapshot());
    }
  }

  SnapshotKey PickSnapshot() {
    return std::next(model_.snapshots.begin(), Pick(static_cast<int>(model_.snapshots.size())))
        ->first;
  }

  absl::Status RandomAppend(const DocumentName& name) {
    const std::string text = SomeText(Pick(3000), random_());
    std::vector<TextToken> tokens;
    if (const ModelDocument* document = model_.Find(name)) {
      int64_t end = document->tokens.empty() ? 0 : document->tokens.back().end_byte;
      const int64_t all = static_cast<int64_t>(document->text.size() + text.size());
      while (Pick(20) != 0 && end < all) {
        end = std::min<int64_t>(all, end + Pick(9));
        tokens.push_back({Pick(50'000), end});
      }
    }
    return AppendOne(name, text, tokens, Pick(8) == 0 ? 1 : 0);
  }

  absl::Status RandomCommit(const DocumentName& name) {
    Checkpoint wanted;
    const int64_t count = 10 * (1 + Pick(5));
    wanted.key = KeyOf(SomeTokens(count, Pick(3)), name.tenant);
    // Often over the segments of another snapshot, as checkpoints do.
    if (Pick(2) == 0 && !model_.snapshots.empty()) {
      const SnapshotKey base = PickSnapshot();
      if (base.tenant == name.tenant && base.token_count <= count) wanted.base = base;
    }
    wanted.replace_base = wanted.base.has_value() && Pick(2) == 0;
    wanted.document_id = Pick(2) == 0 ? name.id : "";
    wanted.core_bytes = Pick(9000);
    wanted.tail_bytes = Pick(9000);
    wanted.seed = random_();
    return CommitOne(wanted);
  }

  // Snapshots that the store evicted are no longer the model's.
  void NoteEvictions() {
    if (options_.disk_cap_bytes == 0) return;
    std::erase_if(model_.snapshots,
                  [this](const auto& entry) { return !store_->ContainsSnapshot(entry.first); });
  }

  std::mt19937_64 random_;
  // What the model would be had an operation happened that the disk refused; since the last one
  // that it did not refuse.
  std::vector<StoreModel> alternatives_;

 private:
  static absl::StatusCode OkIf(bool possible) {
    return possible ? absl::StatusCode::kOk : absl::StatusCode::kNotFound;
  }

  absl::Status Settle(const absl::Status& status, absl::StatusCode expected, StoreModel after) {
    if (status.code() == expected) {
      if (status.ok() && after != model_) {  // something was written
        model_ = std::move(after);
        alternatives_.clear();
      }
      NoteEvictions();
      return absl::OkStatus();
    }
    EXPECT_TRUE(absl::IsResourceExhausted(status) || absl::IsUnavailable(status)) << status;
    alternatives_.push_back(std::move(after));
    NoteEvictions();
    return status;
  }
};

}  // namespace longleaf::store

#endif  // LONGLEAF_TESTS_UNIT_CACHE_STORE_STORE_OPERATIONS_H_
