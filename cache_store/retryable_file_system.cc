// See retryable_file_system.h.
#include "cache_store/retryable_file_system.h"

#include <string>
#include <utility>

#include "cache_store/disk_health.h"

namespace longleaf::store::internal {
namespace {

using rocksdb::FileOptions;
using rocksdb::FSDirectory;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

constexpr char kNoSpace[] = "no space left";

IOStatus Retryable(const IOStatus& status) {
  if (!status.IsIOError()) return status;
  const bool full = status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit;
  IOStatus retryable = IOStatus::IOError(full ? kNoSpace : "writing", status.ToString());
  retryable.SetRetryable(true);
  return retryable;
}

// What all wrappers do with an operation.
class Guard {
 public:
  explicit Guard(std::shared_ptr<DiskHealth> health) : health_(std::move(health)) {}
  template <typename Operation>
  IOStatus Run(const Operation& operation) const {
    if (health_->abandoned()) return Retryable(IOStatus::IOError("the database is closed"));
    return Retryable(operation());
  }
  DiskHealth& health() const { return *health_; }

 private:
  std::shared_ptr<DiskHealth> health_;
};

class RetryableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  RetryableFile(std::unique_ptr<FSWritableFile>&& file, Guard guard)
      : FSWritableFileOwnerWrapper(std::move(file)), guard_(std::move(guard)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return guard_.Run([&] { return FSWritableFileOwnerWrapper::Append(data, options, debug); });
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& info, IODebugContext* debug) override {
    return guard_.Run(
        [&] { return FSWritableFileOwnerWrapper::Append(data, options, info, debug); });
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    return guard_.Run([&] { return FSWritableFileOwnerWrapper::Truncate(size, options, debug); });
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    return guard_.Run([&] { return FSWritableFileOwnerWrapper::Close(options, debug); });
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    return guard_.Run([&] { return FSWritableFileOwnerWrapper::Flush(options, debug); });
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return guard_.Run([&] { return FSWritableFileOwnerWrapper::Sync(options, debug); });
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return guard_.Run([&] { return FSWritableFileOwnerWrapper::Fsync(options, debug); });
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options,
                     IODebugContext* debug) override {
    return guard_.Run(
        [&] { return FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, debug); });
  }

 private:
  const Guard guard_;
};

class RetryableDirectory : public rocksdb::FSDirectoryWrapper {
 public:
  RetryableDirectory(std::unique_ptr<FSDirectory>&& directory, Guard guard)
      : FSDirectoryWrapper(std::move(directory)), guard_(std::move(guard)) {}
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return guard_.Run([&] { return FSDirectoryWrapper::Fsync(options, debug); });
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& fsync) override {
    return guard_.Run(
        [&] { return FSDirectoryWrapper::FsyncWithDirOptions(options, debug, fsync); });
  }

 private:
  const Guard guard_;
};

class RetryableFileSystem : public rocksdb::FileSystemWrapper {
 public:
  RetryableFileSystem(const std::shared_ptr<rocksdb::FileSystem>& target,
                      std::shared_ptr<DiskHealth> health)
      : FileSystemWrapper(target), guard_(std::move(health)) {}
  const char* Name() const override { return "longleaf.RetryableFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options,
                           std::unique_ptr<FSWritableFile>* result,
                           IODebugContext* debug) override {
    guard_.health().PauseBeforeTry();
    return Wrap([&] { return FileSystemWrapper::NewWritableFile(name, options, result, debug); },
                result);
  }
  IOStatus ReopenWritableFile(const std::string& name, const FileOptions& options,
                              std::unique_ptr<FSWritableFile>* result,
                              IODebugContext* debug) override {
    return Wrap([&] { return FileSystemWrapper::ReopenWritableFile(name, options, result, debug); },
                result);
  }
  IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name,
                             const FileOptions& options, std::unique_ptr<FSWritableFile>* result,
                             IODebugContext* debug) override {
    return Wrap(
        [&] {
          return FileSystemWrapper::ReuseWritableFile(name, old_name, options, result, debug);
        },
        result);
  }
  IOStatus NewDirectory(const std::string& name, const IOOptions& options,
                        std::unique_ptr<FSDirectory>* result, IODebugContext* debug) override {
    const IOStatus status =
        guard_.Run([&] { return FileSystemWrapper::NewDirectory(name, options, result, debug); });
    if (status.ok()) *result = std::make_unique<RetryableDirectory>(std::move(*result), guard_);
    return status;
  }
  IOStatus DeleteFile(const std::string& name, const IOOptions& options,
                      IODebugContext* debug) override {
    return guard_.Run([&] { return FileSystemWrapper::DeleteFile(name, options, debug); });
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    return guard_.Run([&] { return FileSystemWrapper::RenameFile(from, to, options, debug); });
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                    IODebugContext* debug) override {
    return guard_.Run([&] { return FileSystemWrapper::LinkFile(from, to, options, debug); });
  }

  // An abandoned database lets go of its lock before it is destroyed.
  IOStatus LockFile(const std::string& name, const IOOptions& options, rocksdb::FileLock** lock,
                    IODebugContext* debug) override {
    const IOStatus status = FileSystemWrapper::LockFile(name, options, lock, debug);
    if (status.ok()) guard_.health().SetUnlock([this, held = *lock] { Unlock(held); });
    return status;
  }
  IOStatus UnlockFile(rocksdb::FileLock*, const IOOptions&, IODebugContext*) override {
    guard_.health().Unlock();
    return IOStatus::OK();
  }

 private:
  template <typename Create>
  IOStatus Wrap(const Create& create, std::unique_ptr<FSWritableFile>* file) const {
    const IOStatus status = guard_.Run(create);
    if (status.ok()) *file = std::make_unique<RetryableFile>(std::move(*file), guard_);
    return status;
  }
  void Unlock(rocksdb::FileLock* lock) {
    FileSystemWrapper::UnlockFile(lock, IOOptions(), nullptr).PermitUncheckedError();
  }

  const Guard guard_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> MakeRetryable(std::shared_ptr<rocksdb::FileSystem> target,
                                                   std::shared_ptr<DiskHealth> health) {
  return std::make_shared<RetryableFileSystem>(std::move(target), std::move(health));
}

bool MeansNoSpace(std::string_view message) {
  return message.find(kNoSpace) != std::string_view::npos;
}

}  // namespace longleaf::store::internal
