// See store_audit.h.
#include "tests/crash/store_audit.h"

#include <rocksdb/db.h>

#include <filesystem>
#include <memory>
#include <set>
#include <utility>

#include "cache_store/chunks.h"
#include "cache_store/database.h"
#include "cache_store/keys.h"
#include "cache_store/message.h"

namespace longleaf::store {
namespace {

using internal::FromSlice;
using internal::Message;

class Auditor {
 public:
  explicit Auditor(const std::string& path) : path_(path) {}
  ~Auditor() {
    for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
  }

  StoreAudit Run() {
    if (!Open()) return std::move(audit_);
    Documents();
    Requests();
    Text();
    Tokens();
    Manifests();
    Claims();
    Asked();
    Segments();
    for (const auto& entry : std::filesystem::directory_iterator(path_ + "/incoming")) {
      Problem("left in incoming: ", entry.path().string());
    }
    return std::move(audit_);
  }

 private:
  template <typename... Parts>
  void Problem(const Parts&... parts) {
    audit_.problems.push_back(Message(parts...));
  }

  // Read only: nothing is repaired or compacted by looking.
  bool Open() {
    rocksdb::Options options;
    std::vector<std::string> names;
    rocksdb::Status status = rocksdb::DB::ListColumnFamilies(options, path_, &names);
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    for (const std::string& name : names) descriptors.emplace_back(name, options);
    rocksdb::DB* raw = nullptr;
    if (status.ok()) {
      status = rocksdb::DB::OpenForReadOnly(options, path_, descriptors, &families_, &raw);
    }
    if (!status.ok()) Problem("cannot be opened: ", status.ToString());
    db_.reset(raw);
    return status.ok();
  }

  std::unique_ptr<rocksdb::Iterator> Rows(const std::string& name) {
    for (rocksdb::ColumnFamilyHandle* family : families_) {
      if (family->GetName() != name) continue;
      std::unique_ptr<rocksdb::Iterator> row(db_->NewIterator(rocksdb::ReadOptions(), family));
      row->SeekToFirst();
      return row;
    }
    Problem("no family ", name);
    return std::unique_ptr<rocksdb::Iterator>(rocksdb::NewEmptyIterator());
  }

  void Documents() {
    for (auto row = Rows("documents"); row->Valid(); row->Next()) {
      DocumentName name;
      const auto record = DecodeDocument(FromSlice(row->value()));
      if (!internal::ParseNameKey(FromSlice(row->key()), &name) || !record.ok() ||
          record->id != name.id) {
        Problem("document record ", name.id);
        continue;
      }
      ++audit_.documents[record->state];
      documents_[name] = *record;
    }
  }

  void Requests() {
    for (auto row = Rows("requests"); row->Valid(); row->Next()) {
      DocumentName name;  // its id is the request's
      const auto request = DecodeRequest(FromSlice(row->value()));
      if (!internal::ParseNameKey(FromSlice(row->key()), &name) || !request.ok()) {
        Problem("request record ", name.id);
        continue;
      }
      const auto document = documents_.find({name.tenant, request->document_id});
      if (document == documents_.end() || document->second.serial != request->serial ||
          document->second.request_id != name.id) {
        Problem("request ", name.id, " leads nowhere");
      }
    }
  }

  // Rows of a document, in order, are exactly what its record says; rows of nobody are a problem.
  void Text() {
    auto row = Rows("text");
    for (const auto& [name, record] : documents_) {
      const std::string prefix = internal::NamePrefix(name.tenant, name.id);
      int64_t next = 0;
      for (; row->Valid() && row->key().starts_with(prefix); row->Next()) {
        const auto text = internal::DecodeTextChunk(FromSlice(row->value()), record.serial, next);
        if (!text.ok() || FromSlice(row->key()) != internal::OffsetKey(prefix, next)) {
          Problem("text of ", name.id, " at ", next);
          continue;
        }
        next += static_cast<int64_t>(text->size());
      }
      if (next != record.text_bytes) Problem("text of ", name.id, " has ", next, " bytes");
      audit_.text_bytes += next;
    }
    if (row->Valid()) Problem("text of no document");
  }

  void Tokens() {
    auto row = Rows("tokens");
    for (const auto& [name, record] : documents_) {
      const std::string prefix = internal::NamePrefix(name.tenant, name.id);
      int64_t next = 0;
      int64_t bytes = 0;
      for (; row->Valid() && row->key().starts_with(prefix); row->Next()) {
        const auto tokens =
            internal::DecodeTokenChunk(FromSlice(row->value()), record.serial, next);
        if (!tokens.ok() || FromSlice(row->key()) != internal::OffsetKey(prefix, next)) {
          Problem("tokens of ", name.id, " at ", next);
          continue;
        }
        next += static_cast<int64_t>(tokens->size());
        bytes += static_cast<int64_t>(row->value().size());
      }
      if (next != record.token_count) Problem("tokens of ", name.id, ": ", next);
      if (bytes != record.token_stored_bytes) Problem("token bytes of ", name.id, ": ", bytes);
      audit_.token_bytes += bytes;
    }
    if (row->Valid()) Problem("tokens of no document");
  }

  void Manifests() {
    for (auto row = Rows("manifests"); row->Valid(); row->Next()) {
      SnapshotKey key;
      const auto manifest = DecodeManifest(FromSlice(row->value()));
      if (!internal::ParseSnapshotKey(FromSlice(row->key()), &key) || !manifest.ok() ||
          manifest->key != key) {
        Problem("manifest of ", key.token_count, " tokens");
        continue;
      }
      ++audit_.snapshots;
      manifests_.insert(key);
      for (const SegmentInfo& info : manifest->segments) {
        const auto [known, is_new] = segments_.try_emplace(info.id, info);
        if (is_new) audit_.snapshot_bytes += info.stored_bytes;
        if (known->second != info) Problem("segment ", info.id, " is listed in two ways");
      }
    }
  }

  void Claims() {
    for (auto row = Rows("claims"); row->Valid(); row->Next()) {
      SnapshotKey key;
      std::string document_id;
      if (!internal::ParseClaimKey(FromSlice(row->key()), &key, &document_id) ||
          !manifests_.contains(key) || !documents_.contains({key.tenant, document_id})) {
        Problem("claim of ", document_id, " on ", key.token_count, " tokens");
      }
    }
  }

  void Asked() {
    for (auto row = Rows("asked"); row->Valid(); row->Next()) {
      SnapshotKey key;
      if (!internal::ParseSnapshotKey(FromSlice(row->key()), &key) || !manifests_.contains(key)) {
        Problem("asked record of ", key.token_count, " tokens");
      }
    }
  }

  // Every listed value is there with its length, and no other; files are as long as was counted.
  void Segments() {
    std::map<int64_t, int64_t> values;
    for (auto row = Rows("segments"); row->Valid(); row->Next()) {
      int64_t id = 0;
      if (!internal::ParseSegmentId(FromSlice(row->key()), &id) || !segments_.contains(id)) {
        Problem("value of segment ", id, ", which no manifest lists");
        continue;
      }
      const int64_t index = values[id]++;
      const int64_t length = segments_.at(id).value_length(index);
      if (static_cast<int64_t>(row->value().size()) != length + 32) {
        Problem("segment ", id, ", value ", index, " has ", row->value().size(), " bytes");
      }
    }
    int64_t file_bytes = 0;
    std::vector<rocksdb::LiveFileMetaData> files;
    db_->GetLiveFilesMetaData(&files);
    for (const rocksdb::LiveFileMetaData& file : files) {
      if (file.column_family_name == "segments" && file.level > 0) {
        file_bytes += static_cast<int64_t>(file.size);
      }
    }
    if (file_bytes != audit_.snapshot_bytes) Problem("segment files of ", file_bytes, " bytes");
    for (const auto& [id, info] : segments_) {
      if (values[id] != info.value_count()) Problem("segment ", id, ": ", values[id], " values");
    }
  }

  const std::string path_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
  StoreAudit audit_;
  std::map<DocumentName, DocumentRecord> documents_;
  std::set<SnapshotKey> manifests_;
  std::map<int64_t, SegmentInfo> segments_;
};

}  // namespace

StoreAudit AuditStore(const std::string& path) { return Auditor(path).Run(); }

std::vector<std::string> Disagreements(const StoreAudit& audit, const StoreStats& stats) {
  std::vector<std::string> found = audit.problems;
  const auto compare = [&](std::string_view what, int64_t counted, int64_t said) {
    if (counted != said) found.push_back(Message(what, ": ", counted, " counted, ", said, " said"));
  };
  compare("text bytes", audit.text_bytes, stats.text_bytes);
  compare("token bytes", audit.token_bytes, stats.token_bytes);
  compare("snapshot bytes", audit.snapshot_bytes, stats.snapshot_bytes);
  compare("snapshots", audit.snapshots, stats.snapshots);
  for (const DocumentState state :
       {DocumentState::kCreating, DocumentState::kQueued, DocumentState::kPrefilling,
        DocumentState::kActive, DocumentState::kFailed}) {
    const auto counted = audit.documents.find(state);
    const auto said = stats.documents.find(state);
    compare(DocumentStateName(state), counted == audit.documents.end() ? 0 : counted->second,
            said == stats.documents.end() ? 0 : said->second);
  }
  return found;
}

}  // namespace longleaf::store
