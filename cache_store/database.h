// RocksDB as the store uses it: column families, options, statuses in our words, synced writes,
// free space, and recovery from a full or failing disk without a restart.
#ifndef LONGLEAF_CACHE_STORE_DATABASE_H_
#define LONGLEAF_CACHE_STORE_DATABASE_H_

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/write_batch.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cache_store/disk_health.h"
#include "cache_store/store.h"
#include "cache_store/write_point.h"

namespace longleaf::store::internal {

// The column families, in the order of FORMAT.md. Their names are on disk.
enum class Family {
  kMeta,
  kDocuments,
  kRequests,
  kText,
  kTokens,
  kManifests,
  kClaims,
  kAsked,
  kSegments,
};
inline constexpr size_t kFamilyCount = 9;
inline constexpr std::string_view kSchemaKey = "schema";  // in kMeta
const char* FamilyName(Family family);

enum class Durability {
  kSynced,  // on the disk when the call returns
  kLazy,    // may be lost in a crash of the machine
};

inline rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
inline std::string_view FromSlice(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}

// Corruption: DATA_LOSS; no space: RESOURCE_EXHAUSTED; every other trouble of the disk:
// UNAVAILABLE.
absl::Status FromRocks(const rocksdb::Status& status);

// FAILED_PRECONDITION with both numbers unless these are the bytes of this program's layout
// version.
absl::Status CheckLayout(std::string_view schema);

// Adds to DATA_LOSS what an operator can do about the store at `path`.
absl::Status ExplainDamage(const std::string& path, const absl::Status& status);

class Database;

// Several writes that happen together or not at all.
class Batch {
 public:
  explicit Batch(Database& database) : database_(database) {}
  void Put(Family family, std::string_view key, std::string_view value);
  void Delete(Family family, std::string_view key);
  void DeleteRange(Family family, std::string_view begin, std::string_view end);
  bool empty() const { return batch_.Count() == 0; }
  void Clear() { batch_.Clear(); }

 private:
  friend class Database;
  Database& database_;
  rocksdb::WriteBatch batch_;
};

// Thread-safe.
class Database {
 public:
  // Opens or creates, and checks the schema version. A database that is damaged only in its
  // segments, which are a cache, is opened without the damaged ones.
  static absl::StatusOr<std::unique_ptr<Database>> Open(
      const StoreOptions& options, std::shared_ptr<rocksdb::FileSystem> file_system);
  ~Database();

  absl::Status Write(Batch& batch, Durability durability);
  // nullopt: no such key.
  absl::StatusOr<std::optional<std::string>> Get(Family family, std::string_view key);
  // Over [begin, end); `begin` and `end` must live as long as the iterator. An empty end: no end.
  std::unique_ptr<rocksdb::Iterator> Scan(Family family, const rocksdb::Slice* begin,
                                          const rocksdb::Slice* end);

  // RESOURCE_EXHAUSTED when `bytes` more would leave less than min_free_bytes. The shortage, 0 when
  // there is room, in *missing where it is not null.
  absl::Status CheckFreeSpace(int64_t bytes, int64_t* missing = nullptr);

  // Taking files in and deleting them, refused while RocksDB recovers from a failed write: a change
  // of the set of files that fails during a recovery trips an assertion of RocksDB's.
  absl::Status IngestSegmentFile(const std::string& file);
  absl::Status DeleteSegmentFiles(const rocksdb::Slice& first, const rocksdb::Slice& last);
  // Where the file of a segment lies while it is being written.
  std::string IncomingFile(int64_t segment_id) const;

  // Tells the test that listens, if any, that the work has come this far.
  void At(WritePoint point) const {
    if (at_point_) at_point_(point);
  }

  // Empties the families that say which snapshots there are, unread. No iterator may be open.
  absl::Status ClearSnapshotIndex();

  // ExplainDamage for this store.
  absl::Status Explain(const absl::Status& status) const { return ExplainDamage(path_, status); }
  // To be called before other threads know of the database.
  void NoteRebuiltCounter() { ++rebuilt_counters_; }

  // Fills what RocksDB says of itself.
  void AddStats(StoreStats& stats);

  rocksdb::DB* db() { return db_.get(); }
  rocksdb::Env* env() { return env_.get(); }
  rocksdb::ColumnFamilyHandle* family(Family family) {
    return families_[static_cast<size_t>(family)];
  }
  const std::string& incoming_dir() const { return incoming_dir_; }  // unfinished segment files
  const rocksdb::Options& segment_options() const { return segment_options_; }

 private:
  struct Checks {
    bool skip_damaged_log = false;    // damaged records of the log are left out
    bool skip_damaged_files = false;  // files that are not what RocksDB's MANIFEST says are let be
  };

  Database(const StoreOptions& options, std::shared_ptr<rocksdb::FileSystem> file_system);
  absl::Status CheckFamilies();
  rocksdb::Status OpenOnce(Checks checks);
  absl::Status OpenWithRepair();
  absl::Status RemoveDamagedCaches();
  absl::Status CheckSchema();
  absl::Status ClearIncoming();
  absl::Status ChangeFiles(absl::FunctionRef<rocksdb::Status()> change);
  absl::Status RewriteManifest();
  void Close();

  const std::string path_;
  const std::string incoming_dir_;
  const int64_t min_free_bytes_;
  const std::function<void(WritePoint)> at_point_;
  const std::shared_ptr<DiskHealth> health_;
  const std::shared_ptr<rocksdb::Env> env_;
  rocksdb::Options base_options_;
  rocksdb::Options segment_options_;
  std::atomic<bool> deletions_disabled_{false};
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilyCount> families_ = {};
  int64_t damaged_files_removed_ = 0;
  int64_t rebuilt_counters_ = 0;
  bool damaged_log_ = false;
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_DATABASE_H_
