// Reads, writes, free space and recovery from errors. Opening is in database_open.cc.
#include "cache_store/database.h"

#include <rocksdb/convenience.h>

#include <algorithm>

#include "cache_store/coding.h"
#include "cache_store/message.h"
#include "cache_store/retryable_file_system.h"

namespace longleaf::store::internal {

const char* FamilyName(Family family) {
  switch (family) {
    case Family::kMeta:
      return "default";
    case Family::kDocuments:
      return "documents";
    case Family::kRequests:
      return "requests";
    case Family::kText:
      return "text";
    case Family::kTokens:
      return "tokens";
    case Family::kManifests:
      return "manifests";
    case Family::kClaims:
      return "claims";
    case Family::kAsked:
      return "asked";
    case Family::kSegments:
      return "segments";
  }
  return "";
}

absl::Status FromRocks(const rocksdb::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = status.ToString();
  if (status.IsNotFound()) return absl::NotFoundError(text);
  if (status.IsCorruption()) return absl::DataLossError(text);
  if (status.IsNoSpace() || MeansNoSpace(text)) {
    return absl::ResourceExhaustedError(Message("the disk is full: ", text));
  }
  if (status.IsInvalidArgument() || status.IsNotSupported()) return absl::InternalError(text);
  return absl::UnavailableError(text);
}

void Batch::Put(Family family, std::string_view key, std::string_view value) {
  batch_.Put(database_.family(family), ToSlice(key), ToSlice(value));
}

void Batch::Delete(Family family, std::string_view key) {
  batch_.Delete(database_.family(family), ToSlice(key));
}

void Batch::DeleteRange(Family family, std::string_view begin, std::string_view end) {
  batch_.DeleteRange(database_.family(family), ToSlice(begin), ToSlice(end));
}

namespace {

// A frame of its own for the thread sanitizer's suppressions: RocksDB lets one thread write what
// several others brought, ordered by atomics that the sanitizer does not see.
[[gnu::noinline]] rocksdb::Status WriteToRocks(rocksdb::DB& db,
                                               const rocksdb::WriteOptions& options,
                                               rocksdb::WriteBatch& batch) {
  rocksdb::Status status = db.Write(options, &batch);
  return status;
}

}  // namespace

absl::Status Database::Write(Batch& batch, Durability durability) {
  rocksdb::WriteOptions options;
  options.sync = durability == Durability::kSynced;
  // What need not be kept need not wait for a stalled disk either.
  options.no_slowdown = durability == Durability::kLazy;
  return FromRocks(WriteToRocks(*db_, options, batch.batch_));
}

absl::StatusOr<std::optional<std::string>> Database::Get(Family which, std::string_view key) {
  std::string value;
  const rocksdb::Status status =
      db_->Get(rocksdb::ReadOptions(), family(which), ToSlice(key), &value);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) return FromRocks(status);
  return std::optional<std::string>(std::move(value));
}

std::unique_ptr<rocksdb::Iterator> Database::Scan(Family which, const rocksdb::Slice* begin,
                                                  const rocksdb::Slice* end) {
  rocksdb::ReadOptions options;
  if (begin != nullptr && !begin->empty()) options.iterate_lower_bound = begin;
  if (end != nullptr && !end->empty()) options.iterate_upper_bound = end;
  std::unique_ptr<rocksdb::Iterator> iterator(db_->NewIterator(options, family(which)));
  if (begin != nullptr) {
    iterator->Seek(*begin);
  } else {
    iterator->SeekToFirst();
  }
  return iterator;
}

absl::Status Database::CheckFreeSpace(int64_t bytes, int64_t* missing) {
  if (missing != nullptr) *missing = 0;
  uint64_t free = 0;
  // A file system that cannot tell is believed to have room; the write itself will say.
  if (!env_->GetFreeSpace(path_, &free).ok()) return absl::OkStatus();
  const int64_t available =
      static_cast<int64_t>(std::min<uint64_t>(free, uint64_t{1} << 62)) - min_free_bytes_;
  if (bytes <= available) return absl::OkStatus();
  if (missing != nullptr) *missing = bytes - available;
  return absl::ResourceExhaustedError(Message("the disk is full: ", bytes, " bytes wanted, ", free,
                                              " free of which ", min_free_bytes_, " are kept"));
}

std::string Database::IncomingFile(int64_t segment_id) const {
  return Message(incoming_dir_, "/", segment_id, ".sst");
}

absl::Status Database::IngestSegmentFile(const std::string& file) {
  rocksdb::IngestExternalFileOptions options;
  options.move_files = true;
  options.failed_move_fall_back_to_copy = false;
  options.write_global_seqno = false;
  // Keys are new for ever, so no snapshot and no other file can be in the way.
  options.snapshot_consistency = false;
  options.allow_global_seqno = false;
  return ChangeFiles(
      [&] { return db_->IngestExternalFile(family(Family::kSegments), {file}, options); });
}

absl::Status Database::DeleteSegmentFiles(const rocksdb::Slice& first, const rocksdb::Slice& last) {
  return ChangeFiles([&] {
    return rocksdb::DeleteFilesInRange(db_.get(), family(Family::kSegments), &first, &last);
  });
}

// RocksDB forgets, for these calls, to stop deleting files when its manifest could not be written,
// and its recovery insists on that (an assertion) until one is. So it is done here, and stays so
// until a manifest is written.
absl::Status Database::ChangeFiles(absl::FunctionRef<rocksdb::Status()> change) {
  LONGLEAF_STORE_RETURN_IF_ERROR(health_->Check());
  if (deletions_disabled_.load()) LONGLEAF_STORE_RETURN_IF_ERROR(RewriteManifest());
  const rocksdb::Status status = change();
  if (!status.ok()) {
    db_->DisableFileDeletions().PermitUncheckedError();
    deletions_disabled_.store(true);
  }
  return FromRocks(status);
}

absl::Status Database::RewriteManifest() {
  absl::StatusOr<std::optional<std::string>> schema = Get(Family::kMeta, kSchemaKey);
  if (!schema.ok()) return schema.status();
  Batch batch(*this);
  batch.Put(Family::kMeta, kSchemaKey, schema->value_or(""));
  LONGLEAF_STORE_RETURN_IF_ERROR(Write(batch, Durability::kSynced));
  LONGLEAF_STORE_RETURN_IF_ERROR(
      FromRocks(db_->Flush(rocksdb::FlushOptions(), family(Family::kMeta))));
  deletions_disabled_.store(false);
  return FromRocks(db_->EnableFileDeletions(/*force=*/true));
}

void Database::AddStats(StoreStats& stats) {
  const auto property = [this](Family which, const std::string& name) {
    uint64_t value = 0;
    db_->GetIntProperty(family(which), name, &value);
    return static_cast<int64_t>(value);
  };
  stats.write_stopped = property(Family::kMeta, rocksdb::DB::Properties::kIsWriteStopped) != 0;
  stats.delayed_write_rate =
      property(Family::kMeta, rocksdb::DB::Properties::kActualDelayedWriteRate);
  stats.writes_failing = health_->failing();
  stats.damaged_log = damaged_log_;
  stats.damaged_files_removed = damaged_files_removed_;
  stats.rebuilt_counters = rebuilt_counters_;
  stats.background_errors = 0;
  stats.pending_compaction_bytes = 0;
  for (size_t i = 0; i < kFamilyCount; ++i) {
    const Family which = static_cast<Family>(i);
    stats.background_errors += property(which, rocksdb::DB::Properties::kBackgroundErrors);
    stats.pending_compaction_bytes +=
        property(which, rocksdb::DB::Properties::kEstimatePendingCompactionBytes);
  }
}

}  // namespace longleaf::store::internal
