// A disk that keeps only what was synced, and that a test can stop dead.
//
// Everything is written through to real files at once, so that reads need no thought; beside them
// it is noted how much of each file is synced, and how to take back each change of a directory
// since that directory was synced. A crash is two steps:
//   Freeze()        nothing reaches the disk from here on: every write, sync and change of a
//                   directory fails, reads go on. To the disk the process has stopped; the code may
//                   run on in memory until it is convenient to end it.
//   LoseUnsynced()  the files become what a disk may hold after that moment.
// Then the directory is opened again, with a new LossyFileSystem, to which all that is there is
// durable. Nothing is really synced, which makes tests fast; do not use it for data.
//
// It can fail single operations too (SetFault), as a full or a broken disk does.
#ifndef LONGLEAF_TESTS_CRASH_LOSSY_FILE_SYSTEM_H_
#define LONGLEAF_TESTS_CRASH_LOSSY_FILE_SYSTEM_H_

#include <rocksdb/file_system.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cache_store/mutex.h"

namespace longleaf::store {

// What changes the disk. Closing and flushing a file do not.
enum class DiskOperation {
  kCreate,  // a file, or an existing one for appending
  kAppend,
  kSync,
  kRename,
  kLink,
  kDelete,
  kCreateDirectory,
  kSyncDirectory,
};
std::string_view DiskOperationName(DiskOperation operation);

// Thread-safe. Must outlive the files opened through it; a database and its Env see to that.
class LossyFileSystem : public rocksdb::FileSystemWrapper {
 public:
  // Not OK: the operation fails with this. A failed append writes half of its bytes all the same,
  // and after a failed sync the file is never durable beyond what it was, as on Linux.
  using Fault = std::function<rocksdb::IOStatus(DiskOperation, const std::string& path)>;

  // Deleted files lie in `attic`, a folder on the same disk, until their deletion is synced; it is
  // created when needed and removed by the destructor.
  explicit LossyFileSystem(std::string attic);
  ~LossyFileSystem() override;
  const char* Name() const override { return "longleaf.LossyFileSystem"; }

  // Before the first use. The fault is asked before every operation, on any thread.
  void SetFault(Fault fault) { fault_ = std::move(fault); }

  void Freeze();
  bool frozen();

  // Freezes, then takes away what was not synced. Seed 0: all of it. Any other: of each directory
  // only the later part of its unsynced changes, and of each file a later part of its unsynced
  // bytes, as the seed has it. To be called when the files are closed, or right before _exit().
  // False: a real operation on the disk failed, and the test means nothing.
  [[nodiscard]] bool LoseUnsynced(uint64_t seed);

  // ---- rocksdb::FileSystem ---------------------------------------------------------------------
  using IOStatus = rocksdb::IOStatus;
  using Debug = rocksdb::IODebugContext;
  IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* result, Debug* debug) override;
  IOStatus ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* result,
                              Debug* debug) override;
  IOStatus ReuseWritableFile(const std::string&, const std::string&, const rocksdb::FileOptions&,
                             std::unique_ptr<rocksdb::FSWritableFile>*, Debug*) override;
  IOStatus NewRandomRWFile(const std::string&, const rocksdb::FileOptions&,
                           std::unique_ptr<rocksdb::FSRandomRWFile>*, Debug*) override;
  IOStatus NewDirectory(const std::string& name, const rocksdb::IOOptions& options,
                        std::unique_ptr<rocksdb::FSDirectory>* result, Debug* debug) override;
  IOStatus NewLogger(const std::string& name, const rocksdb::IOOptions& options,
                     std::shared_ptr<rocksdb::Logger>* result, Debug* debug) override;
  IOStatus DeleteFile(const std::string& name, const rocksdb::IOOptions& options,
                      Debug* debug) override;
  IOStatus Truncate(const std::string&, size_t, const rocksdb::IOOptions&, Debug*) override;
  IOStatus CreateDir(const std::string& name, const rocksdb::IOOptions& options,
                     Debug* debug) override;
  IOStatus CreateDirIfMissing(const std::string& name, const rocksdb::IOOptions& options,
                              Debug* debug) override;
  IOStatus DeleteDir(const std::string&, const rocksdb::IOOptions&, Debug*) override;
  IOStatus RenameFile(const std::string& from, const std::string& to,
                      const rocksdb::IOOptions& options, Debug* debug) override;
  IOStatus LinkFile(const std::string& from, const std::string& to,
                    const rocksdb::IOOptions& options, Debug* debug) override;

 private:
  friend class LossyFile;
  friend class LossyDirectory;

  // The bytes of one file, under whatever names it has.
  struct Content {
    uint64_t size = 0;
    uint64_t synced = 0;
    bool spoiled = false;  // a sync failed: what it was to write is not written by a later one
  };
  using ContentPtr = std::shared_ptr<Content>;
  // One change of a directory, and what is needed to take it back.
  struct Change {
    enum class Kind { kAppeared, kDisappeared, kRenamed };
    Kind kind = Kind::kAppeared;
    std::string path;
    std::string from;       // kRenamed: the earlier name, in the same directory
    std::string displaced;  // in the attic: what was at `path` before; empty: nothing
    ContentPtr displaced_content;
  };

  static std::string Normal(const std::string& path);  // one spelling for each
  static std::string Parent(const std::string& path);
  static IOStatus Trouble(const std::string& path, const std::error_code& error);

  IOStatus Ask(DiskOperation operation, const std::string& path);
  IOStatus CheckAlive() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ContentPtr ContentOf(const std::string& path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Moves what is at `path`, if anything, to the attic.
  IOStatus Displace(const std::string& path, Change* change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Note(Change change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool TakeBack(const Change& change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  IOStatus SyncDirectory(const std::string& path);
  IOStatus SyncContent(const std::string& path, const ContentPtr& content);

  const std::string attic_;
  Fault fault_;
  Mutex mutex_;
  bool frozen_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t in_attic_ ABSL_GUARDED_BY(mutex_) = 0;  // numbers the files there
  std::map<std::string, ContentPtr> contents_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::vector<Change>> changes_ ABSL_GUARDED_BY(mutex_);  // by directory
};

}  // namespace longleaf::store

#endif  // LONGLEAF_TESTS_CRASH_LOSSY_FILE_SYSTEM_H_
