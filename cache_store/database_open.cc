// Opening the database: options, schema version, and repair of what is only a cache.
#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/metadata.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cache_store/block_memory.h"
#include "cache_store/coding.h"
#include "cache_store/database.h"
#include "cache_store/directory_check.h"
#include "cache_store/message.h"
#include "cache_store/retryable_file_system.h"

namespace longleaf::store::internal {
namespace {

constexpr uint8_t kSchemaRecordVersion = 1;
constexpr uint32_t kLayoutVersion = 1;  // FORMAT.md, "Versions"
// What says which snapshots there are. A cache like these: lost, they are made again.
constexpr Family kSnapshotIndex[] = {Family::kManifests, Family::kClaims, Family::kAsked};

std::shared_ptr<rocksdb::TableFactory> TablesWith(std::shared_ptr<rocksdb::Cache> cache) {
  rocksdb::BlockBasedTableOptions table;
  table.checksum = rocksdb::kXXH3;
  table.format_version = 5;
  table.block_cache = std::move(cache);
  return std::shared_ptr<rocksdb::TableFactory>(rocksdb::NewBlockBasedTableFactory(table));
}

rocksdb::Options BaseOptions(rocksdb::Env* env) {
  rocksdb::Options options;
  options.env = env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_background_jobs = 2;
  // Bounds on what comes on top of the cap: memtables, logs.
  options.db_write_buffer_size = size_t{64} << 20;
  options.write_buffer_size = size_t{32} << 20;
  options.max_total_wal_size = uint64_t{128} << 20;
  // With -1 a single unreadable file would keep the whole server from starting.
  options.max_open_files = 512;
  options.bgerror_resume_retry_interval = 1000;  // microseconds; DiskHealth makes the pause
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.max_log_file_size = size_t{4} << 20;
  options.keep_log_file_num = 4;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.compression = rocksdb::kNoCompression;  // bytes on disk are the bytes that were counted
  options.table_factory = TablesWith(rocksdb::NewLRUCache(size_t{16} << 20));
  return options;
}

// Text and tokens are read in long passes. With a cache of their own these do not push out the
// blocks of records and manifests, which answers from memory need while the disk may be slow.
rocksdb::Options TextOptions(const rocksdb::Options& base) {
  rocksdb::Options options = base;
  options.table_factory = TablesWith(rocksdb::NewLRUCache(size_t{8} << 20));
  return options;
}

rocksdb::Options SegmentOptions(const rocksdb::Options& base) {
  rocksdb::Options options = base;
  options.disable_auto_compactions = true;
  // Values are never cached (fill_cache=false): the cache is there for its allocator, which keeps
  // 1 MiB blocks for the next read. A fresh one for every read costs a third of the time.
  rocksdb::LRUCacheOptions cache;
  cache.capacity = size_t{1} << 20;
  cache.memory_allocator = std::make_shared<BlockMemory>();
  options.table_factory = TablesWith(rocksdb::NewLRUCache(cache));
  return options;
}

bool IsOurs(const std::string& family) {
  for (size_t i = 0; i < kFamilyCount; ++i) {
    if (family == FamilyName(static_cast<Family>(i))) return true;
  }
  return false;
}

absl::Status OpenError(const std::string& path, const rocksdb::Status& status) {
  if (status.IsIOError() && status.ToString().find("lock") != std::string::npos) {
    return absl::UnavailableError(
        Message("the store at ", path, " is in use by another process (", status.ToString(), ")"));
  }
  return Prefixed(
      Message("opening the store at ", path),
      status.IsCorruption() ? ExplainDamage(path, FromRocks(status)) : FromRocks(status));
}

}  // namespace

absl::Status CheckLayout(std::string_view bytes) {
  absl::StatusOr<Decoder> in =
      Decoder::Open(bytes, RecordKind::kSchema, kSchemaRecordVersion, "store schema");
  if (!in.ok()) return in.status();
  const uint32_t version = in->U32();
  LONGLEAF_STORE_RETURN_IF_ERROR(in->Finish("store schema"));
  if (version == kLayoutVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(Message("the store has layout version ", version,
                                               ", this program reads and writes ", kLayoutVersion));
}

absl::Status ExplainDamage(const std::string& path, const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return status;
  return absl::DataLossError(Message(status.message(), "; restore ", path,
                                     " from a backup (`longleaf-eval verify-store --store ", path,
                                     "` lists all that is damaged)"));
}

Database::Database(const StoreOptions& options, std::shared_ptr<rocksdb::FileSystem> file_system)
    : path_(options.path),
      incoming_dir_(options.path + "/incoming"),
      min_free_bytes_(options.min_free_bytes),
      at_point_(options.at_point),
      health_(std::make_shared<DiskHealth>()),
      env_(rocksdb::NewCompositeEnv(MakeRetryable(std::move(file_system), health_))),
      base_options_(BaseOptions(env_.get())),
      segment_options_(SegmentOptions(base_options_)) {
  base_options_.listeners.push_back(health_);
}

Database::~Database() { Close(); }

void Database::Close() {
  for (rocksdb::ColumnFamilyHandle*& family : families_) {
    if (family != nullptr) db_->DestroyColumnFamilyHandle(family);
    family = nullptr;
  }
  if (db_ != nullptr && health_->failing()) {
    health_->Abandon(
        [db = std::shared_ptr<rocksdb::DB>(std::move(db_)), env = env_]() mutable { db.reset(); });
  }
  db_.reset();
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(
    const StoreOptions& options, std::shared_ptr<rocksdb::FileSystem> file_system) {
  if (file_system == nullptr) file_system = rocksdb::FileSystem::Default();
  auto database = std::unique_ptr<Database>(new Database(options, std::move(file_system)));
  LONGLEAF_STORE_RETURN_IF_ERROR(database->CheckFamilies());
  LONGLEAF_STORE_RETURN_IF_ERROR(database->OpenWithRepair());
  LONGLEAF_STORE_RETURN_IF_ERROR(database->CheckSchema());
  LONGLEAF_STORE_RETURN_IF_ERROR(database->ClearIncoming());
  return database;
}

// Another layout may have other families, and RocksDB opens only all of them: then its version is
// read before anything is touched.
absl::Status Database::CheckFamilies() {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckDatabaseFiles(*env_, path_));
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckManifestReachesLog(base_options_, path_, incoming_dir_));
  if (!env_->FileExists(path_ + "/CURRENT").ok()) return absl::OkStatus();
  std::vector<std::string> names;
  const rocksdb::Status listed = rocksdb::DB::ListColumnFamilies(base_options_, path_, &names);
  if (!listed.ok()) return OpenError(path_, listed);
  if (std::all_of(names.begin(), names.end(), IsOurs)) return absl::OkStatus();
  rocksdb::DB* raw = nullptr;
  rocksdb::Options options = base_options_;
  options.create_if_missing = false;
  const rocksdb::Status opened = rocksdb::DB::OpenForReadOnly(options, path_, &raw);
  if (!opened.ok()) return OpenError(path_, opened);
  const std::unique_ptr<rocksdb::DB> db(raw);
  std::string schema;
  if (db->Get(rocksdb::ReadOptions(), ToSlice(kSchemaKey), &schema).ok()) {
    LONGLEAF_STORE_RETURN_IF_ERROR(CheckLayout(schema));
  }
  return absl::FailedPreconditionError(
      Message(path_, " holds a database that is not a store of this program"));
}

rocksdb::Status Database::OpenOnce(Checks checks) {
  rocksdb::DBOptions db_options(base_options_);
  db_options.paranoid_checks = !checks.skip_damaged_files;
  // A torn end of the log is what a crash leaves. Damage before the end loses acknowledged writes,
  // and must not do so without a word. What comes after it is kept: every write is whole in itself,
  // and a row that misses another is found out when it is read.
  db_options.wal_recovery_mode = checks.skip_damaged_log
                                     ? rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords
                                     : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  const rocksdb::Options text_options = TextOptions(base_options_);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (size_t i = 0; i < kFamilyCount; ++i) {
    const Family family = static_cast<Family>(i);
    const bool is_text = family == Family::kText || family == Family::kTokens;
    descriptors.emplace_back(FamilyName(family), family == Family::kSegments ? segment_options_
                                                 : is_text                   ? text_options
                                                                             : base_options_);
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  health_->Reset();
  const rocksdb::Status status = rocksdb::DB::Open(db_options, path_, descriptors, &handles, &raw);
  if (!status.ok()) return status;
  db_.reset(raw);
  std::copy(handles.begin(), handles.end(), families_.begin());
  return status;
}

absl::Status Database::OpenWithRepair() {
  rocksdb::Status status = env_->CreateDirIfMissing(path_);
  // RocksDB syncs what is in its directory, not the directory's own name.
  if (status.ok() && !env_->FileExists(path_ + "/CURRENT").ok()) {
    std::unique_ptr<rocksdb::Directory> parent;
    status = env_->NewDirectory(path_ + "/..", &parent);
    if (status.ok()) status = parent->Fsync();
  }
  if (!status.ok()) return Prefixed(Message("creating ", path_), FromRocks(status));
  damaged_log_ = !FindDamagedLog(*env_, path_).empty();
  status = OpenOnce({});
  if (status.IsCorruption() && OpenOnce({.skip_damaged_log = true}).ok()) {
    damaged_log_ = true;
    return absl::OkStatus();
  }
  for (const bool skip_log : {false, true}) {
    if (!status.IsCorruption()) break;
    if (!OpenOnce({.skip_damaged_log = skip_log, .skip_damaged_files = true}).ok()) continue;
    damaged_log_ = damaged_log_ || skip_log;
    LONGLEAF_STORE_RETURN_IF_ERROR(RemoveDamagedCaches());
    Close();
    status = OpenOnce({});
    break;
  }
  if (!status.ok()) return OpenError(path_, status);
  return absl::OkStatus();
}

absl::Status Database::RemoveDamagedCaches() {
  std::vector<rocksdb::LiveFileMetaData> files;
  db_->GetLiveFilesMetaData(&files);
  bool index_damaged = false;
  for (const rocksdb::LiveFileMetaData& file : files) {
    const bool segments = file.column_family_name == FamilyName(Family::kSegments);
    const bool index =
        std::any_of(std::begin(kSnapshotIndex), std::end(kSnapshotIndex),
                    [&](Family family) { return file.column_family_name == FamilyName(family); });
    if (!segments && !index) continue;
    const std::string name = file.db_path + file.name;
    uint64_t size = 0;
    rocksdb::SstFileReader reader(segment_options_);
    if (env_->GetFileSize(name, &size).ok() && size == file.size && reader.Open(name).ok()) {
      continue;
    }
    index_damaged = index_damaged || index;
    if (!segments) continue;
    const rocksdb::Slice begin(file.smallestkey);
    const rocksdb::Slice end(file.largestkey);
    const rocksdb::Status status =
        rocksdb::DeleteFilesInRange(db_.get(), family(Family::kSegments), &begin, &end);
    if (!status.ok()) return FromRocks(status);
    ++damaged_files_removed_;
  }
  return index_damaged ? ClearSnapshotIndex() : absl::OkStatus();
}

absl::Status Database::ClearSnapshotIndex() {
  for (const Family which : kSnapshotIndex) {
    rocksdb::ColumnFamilyHandle*& handle = families_[static_cast<size_t>(which)];
    // Dropping needs no reading of what is damaged. A crash before the next line is mended by
    // opening, which makes missing families.
    rocksdb::Status status = db_->DropColumnFamily(handle);
    if (!status.ok()) return FromRocks(status);
    db_->DestroyColumnFamilyHandle(handle);
    handle = nullptr;
    status = db_->CreateColumnFamily(base_options_, FamilyName(which), &handle);
    if (!status.ok()) return FromRocks(status);
  }
  ++damaged_files_removed_;
  return absl::OkStatus();
}

absl::Status Database::CheckSchema() {
  absl::StatusOr<std::optional<std::string>> found = Get(Family::kMeta, kSchemaKey);
  if (!found.ok()) return ExplainDamage(path_, found.status());
  if (found->has_value()) {
    const absl::Status layout = CheckLayout(**found);
    if (!layout.ok()) {
      return ExplainDamage(path_, Prefixed(Message("the store at ", path_), layout));
    }
    // The first write of this log, for CheckManifestReachesLog of the next start. Where there is no
    // room for it the next start only checks less.
    Batch batch(*this);
    batch.Put(Family::kMeta, kSchemaKey, **found);
    (void)Write(batch, Durability::kSynced);
    return absl::OkStatus();
  }
  // Nothing was ever stored, or this is the first start.
  for (size_t i = 0; i < kFamilyCount; ++i) {
    const std::unique_ptr<rocksdb::Iterator> row = Scan(static_cast<Family>(i), nullptr, nullptr);
    if (row->Valid() || !row->status().ok()) {
      return absl::FailedPreconditionError(
          Message(path_, " holds data but no record of its layout version"));
    }
  }
  Encoder out(RecordKind::kSchema, kSchemaRecordVersion);
  out.U32(kLayoutVersion);
  Batch batch(*this);
  batch.Put(Family::kMeta, kSchemaKey, out.Seal());
  return Write(batch, Durability::kSynced);
}

absl::Status Database::ClearIncoming() {
  rocksdb::Status status = env_->CreateDirIfMissing(incoming_dir_);
  if (!status.ok()) return FromRocks(status);
  std::vector<std::string> names;
  status = env_->GetChildren(incoming_dir_, &names);
  if (!status.ok()) return FromRocks(status);
  for (const std::string& name : names) {
    if (name == "." || name == "..") continue;
    status = env_->DeleteFile(incoming_dir_ + "/" + name);
    if (!status.ok()) return FromRocks(status);
  }
  At(WritePoint::kIncomingCleared);
  return absl::OkStatus();
}

}  // namespace longleaf::store::internal
