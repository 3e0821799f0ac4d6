// Document records: loading, creating, listing, changing, deleting. Their text is in uploads.cc.
#include "cache_store/documents.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "cache_store/coding.h"
#include "cache_store/keys.h"
#include "cache_store/message.h"

namespace longleaf::store::internal {
namespace {

// The record under this name. DATA_LOSS also when it is a good record of another document.
absl::StatusOr<DocumentRecord> DecodeNamed(const DocumentName& name, std::string_view bytes) {
  absl::StatusOr<DocumentRecord> record = DecodeDocument(bytes);
  if (!record.ok()) return Prefixed(Message("document ", name.id), record.status());
  if (record->tenant.empty()) record->tenant = name.tenant;  // from before version 2
  if (record->id == name.id && record->tenant == name.tenant) return record;
  return absl::DataLossError(Message("document ", name.id, ": its record is of document ",
                                     record->id, " of tenant ", record->tenant));
}

}  // namespace

DocumentTable::DocumentTable(Database& database, DiskBudget& budget, SnapshotTable& snapshots,
                             int32_t text_chunk_bytes, std::function<int64_t()> clock)
    : database_(database),
      budget_(budget),
      snapshots_(snapshots),
      text_chunk_bytes_(text_chunk_bytes),
      clock_(std::move(clock)),
      serials_(database, "next-document") {}

absl::Status DocumentTable::Load() {
  int64_t last_serial = 0;
  const std::unique_ptr<rocksdb::Iterator> row =
      database_.Scan(Family::kDocuments, nullptr, nullptr);
  for (; row->Valid(); row->Next()) {
    DocumentName name;
    if (!ParseNameKey(FromSlice(row->key()), &name)) continue;
    const absl::StatusOr<DocumentRecord> record = DecodeNamed(name, FromSlice(row->value()));
    if (record.ok()) {
      budget_.Add(Use::kText, record->text_bytes);
      budget_.Add(Use::kTokens, record->token_stored_bytes);
      Recount(name.tenant, nullptr, &*record);
      last_serial = std::max(last_serial, record->serial);
      continue;
    }
    // Kept: its text is still there, and only a person can say what is to become of it.
    budget_.Add(Use::kText, StoredBytes(name));
    MutexLock lock(&counts_mutex_);
    damaged_.insert(name);
  }
  if (!row->status().ok()) {
    return database_.Explain(Prefixed("listing the documents", FromRocks(row->status())));
  }
  return serials_.Load(last_serial);
}

int64_t DocumentTable::StoredBytes(const DocumentName& name) {
  const std::string begin = NamePrefix(name.tenant, name.id);
  const std::string end = OffsetEnd(begin);
  const rocksdb::Slice lower(begin);
  const rocksdb::Slice upper(end);
  int64_t bytes = 0;
  for (const Family family : {Family::kText, Family::kTokens}) {
    const std::unique_ptr<rocksdb::Iterator> row = database_.Scan(family, &lower, &upper);
    for (; row->Valid(); row->Next()) bytes += static_cast<int64_t>(row->value().size());
  }
  return bytes;
}

void DocumentTable::Recount(const std::string& tenant, const DocumentRecord* before,
                            const DocumentRecord* after) {
  MutexLock lock(&counts_mutex_);
  if (before != nullptr) {
    --by_state_[before->state];
    expiry_.erase({before->expire_time_us, tenant, before->id});
    uploading_.erase({before->update_time_us, tenant, before->id});
  }
  if (after != nullptr) {
    ++by_state_[after->state];
    if (after->expire_time_us != 0) expiry_.insert({after->expire_time_us, tenant, after->id});
    if (after->state == DocumentState::kCreating) {
      uploading_.insert({after->update_time_us, tenant, after->id});
    }
  }
}

absl::Status DocumentTable::WriteRecord(const std::string& tenant, const DocumentRecord& before,
                                        const DocumentRecord& after, Batch& batch,
                                        Durability durability) {
  const absl::StatusOr<std::string> bytes = EncodeDocument(after);
  if (!bytes.ok()) return bytes.status();
  batch.Put(Family::kDocuments, NameKey(tenant, after.id), *bytes);
  LONGLEAF_STORE_RETURN_IF_ERROR(database_.Write(batch, durability));
  Recount(tenant, &before, &after);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<CreateResult>> DocumentTable::FindRequest(
    const std::string& tenant, const std::string& request_id, const Digest& request) {
  absl::StatusOr<std::optional<std::string>> found =
      database_.Get(Family::kRequests, NameKey(tenant, request_id));
  const std::string what = Message("request id ", request_id);
  if (!found.ok()) return Prefixed(what, found.status());
  if (!found->has_value()) return std::nullopt;
  const absl::StatusOr<RequestRecord> entry = DecodeRequest(**found);
  if (!entry.ok()) return Prefixed(what, entry.status());
  const absl::StatusOr<DocumentRecord> record = Get({tenant, entry->document_id});
  if (absl::IsNotFound(record.status())) return std::nullopt;
  if (!record.ok()) return record.status();
  if (record->serial != entry->serial) return std::nullopt;
  if (record->request_id != request_id) {
    return absl::DataLossError(
        Message(what, ": its entry is of document ", record->id, ", which another request made"));
  }
  if (entry->fingerprint != request) {
    return absl::AlreadyExistsError(
        Message("request id ", request_id, " was used before for another request"));
  }
  return CreateResult{*record, false};
}

absl::StatusOr<CreateResult> DocumentTable::Create(const std::string& tenant,
                                                   const DocumentRecord& wanted,
                                                   const Digest& request) {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckName(tenant, wanted.id));
  if (!wanted.request_id.empty()) {
    LONGLEAF_STORE_RETURN_IF_ERROR(CheckName(tenant, wanted.request_id));
  }
  MutexLock creating(&create_mutex_);
  if (!wanted.request_id.empty()) {
    absl::StatusOr<std::optional<CreateResult>> earlier =
        FindRequest(tenant, wanted.request_id, request);
    if (!earlier.ok()) return earlier.status();
    if (earlier->has_value()) return **std::move(earlier);
  }
  const NameLocks::Hold hold(&names_, {tenant, wanted.id});
  const std::string key = NameKey(tenant, wanted.id);
  const absl::StatusOr<std::optional<std::string>> taken = database_.Get(Family::kDocuments, key);
  if (!taken.ok()) return taken.status();
  if (taken->has_value()) {
    return absl::AlreadyExistsError(Message("document ", wanted.id, " exists already"));
  }
  absl::StatusOr<int64_t> serial = serials_.Next();
  if (!serial.ok()) return serial.status();

  DocumentRecord record;
  record.tenant = tenant;
  record.id = wanted.id;
  record.display_name = wanted.display_name;
  record.labels = wanted.labels;
  record.create_time_us = record.update_time_us = clock_();
  record.expire_time_us = wanted.expire_time_us;
  record.serial = *serial;
  record.revision = 1;
  record.request_id = wanted.request_id;
  record.token_fingerprint = wanted.token_fingerprint;
  const absl::StatusOr<std::string> bytes = EncodeDocument(record);
  if (!bytes.ok()) return bytes.status();
  Batch batch(database_);
  batch.Put(Family::kDocuments, key, *bytes);
  if (!record.request_id.empty()) {
    const absl::StatusOr<std::string> entry = EncodeRequest({record.id, record.serial, request});
    if (!entry.ok()) return entry.status();
    batch.Put(Family::kRequests, NameKey(tenant, record.request_id), *entry);
  }
  LONGLEAF_STORE_RETURN_IF_ERROR(database_.CheckFreeSpace(0));
  database_.At(WritePoint::kDocumentCreating);
  LONGLEAF_STORE_RETURN_IF_ERROR(database_.Write(batch, Durability::kSynced));
  database_.At(WritePoint::kDocumentCreated);
  Recount(tenant, nullptr, &record);
  return CreateResult{record, true};
}

absl::StatusOr<DocumentRecord> DocumentTable::Get(const DocumentName& name) {
  absl::StatusOr<DocumentRecord> record = GetStored(name);
  if (record.ok()) notes_.Apply(name, *record);
  return record;
}

absl::StatusOr<DocumentRecord> DocumentTable::GetStored(const DocumentName& name) {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckName(name.tenant, name.id));
  const absl::StatusOr<std::optional<std::string>> found =
      database_.Get(Family::kDocuments, NameKey(name.tenant, name.id));
  if (!found.ok()) return Prefixed(Message("document ", name.id), found.status());
  if (!found->has_value()) return absl::NotFoundError(Message("no document ", name.id));
  return DecodeNamed(name, **found);
}

absl::StatusOr<DocumentPage> DocumentTable::List(const std::string& tenant, int32_t page_size,
                                                 std::string_view resume_key) {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckTenant(tenant));
  if (page_size < 1) return absl::InvalidArgumentError("page size below 1");
  const std::string prefix = TenantPrefix(tenant);
  const std::string begin = prefix + std::string(resume_key);
  const std::string end = PrefixEnd(prefix);
  const rocksdb::Slice lower(begin);
  const rocksdb::Slice upper(end);
  DocumentPage page;
  const std::unique_ptr<rocksdb::Iterator> row = database_.Scan(Family::kDocuments, &lower, &upper);
  int32_t rows = 0;
  for (; row->Valid(); row->Next()) {
    DocumentName name;
    if (!ParseNameKey(FromSlice(row->key()), &name)) continue;
    if (rows++ == page_size) {
      page.resume_key = name.id;  // the next page begins here, also when it is deleted meanwhile
      break;
    }
    name.tenant = tenant;
    absl::StatusOr<DocumentRecord> record = DecodeNamed(name, FromSlice(row->value()));
    if (record.ok()) {
      notes_.Apply({tenant, name.id}, *record);
      page.documents.push_back(*std::move(record));
    } else {
      page.damaged_ids.push_back(name.id);
    }
  }
  if (!row->status().ok()) return FromRocks(row->status());
  return page;
}

absl::StatusOr<DocumentRecord> DocumentTable::Update(
    const DocumentName& name, absl::FunctionRef<absl::Status(DocumentRecord&)> change) {
  const NameLocks::Hold hold(&names_, {name.tenant, name.id});
  const absl::StatusOr<DocumentRecord> before = Get(name);
  if (!before.ok()) return before.status();
  DocumentRecord changed = *before;
  LONGLEAF_STORE_RETURN_IF_ERROR(change(changed));
  // Only what is the caller's to change is taken over.
  DocumentRecord after = *before;
  after.display_name = changed.display_name;
  after.labels = changed.labels;
  after.expire_time_us = changed.expire_time_us;
  after.last_asked_time_us = changed.last_asked_time_us;
  after.state = changed.state;
  after.failure_code = changed.failure_code;
  after.failure_message = changed.failure_message;
  after.update_time_us = clock_();
  ++after.revision;
  Batch batch(database_);
  LONGLEAF_STORE_RETURN_IF_ERROR(
      WriteRecord(name.tenant, *before, after, batch, Durability::kSynced));
  return after;
}

void DocumentTable::StartWritingNotes() {
  notes_.Start([this](const DocumentName& name) { WriteNote(name); });
}

void DocumentTable::WriteNote(const DocumentName& name) {
  const NameLocks::Hold hold(&names_, {name.tenant, name.id});
  const absl::StatusOr<DocumentRecord> before = GetStored(name);
  if (absl::IsUnavailable(before.status())) return;  // next time
  if (!before.ok()) {
    notes_.Forget(name);
    return;
  }
  DocumentRecord after = *before;
  if (notes_.Apply(name, after)) {
    Batch batch(database_);
    if (!WriteRecord(name.tenant, *before, after, batch, Durability::kLazy).ok()) return;
  }
  notes_.Done(name, after);
}

absl::Status DocumentTable::WithDocument(const DocumentName& name,
                                         absl::FunctionRef<absl::Status()> use) {
  const NameLocks::Hold hold(&names_, {name.tenant, name.id});
  const absl::StatusOr<DocumentRecord> record = Get(name);
  if (!record.ok()) return record.status();
  return use();
}

std::vector<DocumentName> DocumentTable::Expired(int64_t now_us, int32_t limit) {
  std::vector<DocumentName> names;
  MutexLock lock(&counts_mutex_);
  for (const auto& [expire_time_us, tenant, id] : expiry_) {
    if (expire_time_us > now_us || static_cast<int32_t>(names.size()) >= limit) break;
    names.push_back({tenant, id});
  }
  return names;
}

std::vector<DocumentName> DocumentTable::AbandonedUploads(int64_t before_us, int32_t limit) {
  std::vector<DocumentName> names;
  MutexLock lock(&counts_mutex_);
  for (const auto& [update_time_us, tenant, id] : uploading_) {
    if (update_time_us >= before_us || static_cast<int32_t>(names.size()) >= limit) break;
    names.push_back({tenant, id});
  }
  return names;
}

void DocumentTable::AddStats(StoreStats& stats) {
  MutexLock lock(&counts_mutex_);
  stats.documents = by_state_;
  stats.damaged_documents = static_cast<int64_t>(damaged_.size());
}

}  // namespace longleaf::store::internal
