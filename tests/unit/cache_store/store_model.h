// The store's model: a plain map of documents and one of snapshots, and their comparison with the
// store. The operations that change both are in store_operations.h.
#ifndef LONGLEAF_TESTS_UNIT_CACHE_STORE_STORE_MODEL_H_
#define LONGLEAF_TESTS_UNIT_CACHE_STORE_STORE_MODEL_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cache_store/message.h"
#include "cache_store/sha256.h"
#include "tests/unit/cache_store/store_fixture.h"

namespace longleaf::store {

struct ModelDocument {
  std::string text;
  std::vector<TextToken> tokens;
  std::string display_name;
  std::string request_id;
  DocumentState state = DocumentState::kCreating;
  int64_t expire_time_us = 0;

  bool operator==(const ModelDocument&) const = default;
};

struct ModelSnapshot {
  std::vector<std::string> segments;
  std::set<std::string> claims;

  bool operator==(const ModelSnapshot&) const = default;
};

struct StoreModel {
  std::map<DocumentName, ModelDocument> documents;
  std::map<SnapshotKey, ModelSnapshot> snapshots;

  bool operator==(const StoreModel&) const = default;
  ModelDocument* Find(const DocumentName& name) {
    const auto found = documents.find(name);
    return found == documents.end() ? nullptr : &found->second;
  }
  const DocumentName* FindRequest(const std::string& tenant, const std::string& request_id) const {
    for (const auto& [name, document] : documents) {
      if (!request_id.empty() && name.tenant == tenant && document.request_id == request_id) {
        return &name;
      }
    }
    return nullptr;
  }
  void DeleteDocument(const DocumentName& name) {
    documents.erase(name);
    for (auto at = snapshots.begin(); at != snapshots.end();) {
      const bool had = at->first.tenant == name.tenant && at->second.claims.erase(name.id) == 1;
      at = had && at->second.claims.empty() ? snapshots.erase(at) : std::next(at);
    }
  }
  void LetGo(const SnapshotKey& key, const std::string& document_id) {
    std::set<std::string>& claims = snapshots.at(key).claims;
    claims.erase(document_id);
    if (claims.empty()) snapshots.erase(key);
  }
};

// A store and its model, and whether they are the same.
class StoreModelTestBase : public StoreTest {
 protected:
  // The first thing in which the store is not `model`; empty: none.
  std::string Difference(const StoreModel& model) {
    const std::string different = DifferenceOfData(model);
    return different.empty() ? DifferenceOfStats(model) : different;
  }

  std::string DifferenceOfData(const StoreModel& model) {
    using internal::Message;
    for (const std::string tenant : {"t", "u"}) {
      std::string expected;
      std::string found;
      for (const auto& [name, document] : model.documents) {
        if (name.tenant == tenant) expected += name.id + " ";
      }
      std::string resume;
      do {
        const auto page = store_->ListDocuments(tenant, 2, resume);
        if (!page.ok()) return page.status().ToString();
        for (const DocumentRecord& record : page->documents) found += record.id + " ";
        if (!page->damaged_ids.empty()) return Message("damaged record of ", page->damaged_ids[0]);
        resume = page->resume_key;
      } while (!resume.empty());
      if (found != expected) return Message("documents ", found, "instead of ", expected);
    }
    for (const auto& [name, document] : model.documents) {
      const std::string different = Difference(name, document);
      if (!different.empty()) return Message("document ", name.tenant, "/", name.id, different);
    }
    for (const auto& [key, snapshot] : model.snapshots) {
      const std::string different = Difference(key, snapshot);
      if (!different.empty()) return Message("snapshot ", key.token_count, different);
    }
    return "";
  }

  std::string Difference(const DocumentName& name, const ModelDocument& document) {
    using internal::Message;
    const auto record = store_->GetDocument(name.tenant, name.id);
    if (!record.ok()) return record.status().ToString();
    if (record->state != document.state) return " has another state";
    if (record->display_name != document.display_name) return " has another display name";
    if (record->expire_time_us != document.expire_time_us) return " has another expiry";
    if (record->request_id != document.request_id) return " has another request id";
    internal::Sha256 sha;
    sha.Update(document.text);
    const Digest digest = document.state == DocumentState::kCreating ? Digest{} : sha.Value();
    if (record->text_sha256 != digest) return " has another SHA-256";
    const auto text = store_->ReadText(name.tenant, name.id, 0, 1 << 20);
    if (!text.ok()) return text.status().ToString();
    if (*text != document.text) {
      return Message(" has other text, ", text->size(), " bytes of ", document.text.size());
    }
    const auto tokens = store_->ReadTokens(name.tenant, name.id, 0, 1 << 20);
    if (!tokens.ok()) return tokens.status().ToString();
    if (*tokens != document.tokens) {
      return Message(" has other tokens, ", tokens->size(), " of ", document.tokens.size());
    }
    if (document.request_id.empty()) return "";
    const auto again =
        store_->CreateDocument(name.tenant, Wanted(name.id, document.request_id), {});
    if (!again.ok()) return again.status().ToString();
    return again->created || again->record.id != name.id ? " is not what its request made" : "";
  }

  std::string Difference(const SnapshotKey& key, const ModelSnapshot& model) {
    const auto snapshot = store_->FindSnapshot(key);
    if (!snapshot.ok()) return snapshot.status().ToString();
    if ((*snapshot)->segments().size() != model.segments.size()) return " has other segments";
    for (size_t i = 0; i < model.segments.size(); ++i) {
      const auto bytes = ReadAll(**snapshot, static_cast<int64_t>(i));
      if (!bytes.ok()) return bytes.status().ToString();
      if (*bytes != model.segments[i]) return " has other bytes";
    }
    return "";
  }

  std::string DifferenceOfStats(const StoreModel& model) {
    using internal::Message;
    std::map<DocumentState, int64_t> states;
    int64_t text_bytes = 0;
    for (const auto& [name, document] : model.documents) {
      ++states[document.state];
      text_bytes += static_cast<int64_t>(document.text.size());
    }
    std::set<int64_t> ids;
    int64_t snapshot_bytes = 0;
    for (const auto& [key, unused] : model.snapshots) {
      const auto snapshot = store_->FindSnapshot(key);
      if (!snapshot.ok()) return snapshot.status().ToString();
      for (const SegmentPtr& segment : (*snapshot)->segments()) {
        if (ids.insert(segment->info().id).second) snapshot_bytes += segment->info().stored_bytes;
      }
    }
    store_->WaitForReclaim();
    const StoreStats stats = store_->Stats();
    if (stats.snapshots != static_cast<int64_t>(model.snapshots.size())) {
      return Message(stats.snapshots, " snapshots instead of ", model.snapshots.size());
    }
    if (stats.reserved_bytes != 0) return Message(stats.reserved_bytes, " bytes still reserved");
    if (stats.snapshot_bytes != snapshot_bytes) {
      return Message(stats.snapshot_bytes, " bytes of snapshots instead of ", snapshot_bytes);
    }
    if (stats.text_bytes != text_bytes) {
      return Message(stats.text_bytes, " bytes of text instead of ", text_bytes);
    }
    for (const auto& [state, count] : stats.documents) {
      if (count != states[state]) return Message(count, " documents ", DocumentStateName(state));
    }
    return "";
  }

  StoreModel model_;
};

}  // namespace longleaf::store

#endif  // LONGLEAF_TESTS_UNIT_CACHE_STORE_STORE_MODEL_H_
