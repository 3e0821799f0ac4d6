// See retryable_file_system.h.
#include "cache_store/retryable_file_system.h"

#include <string>
#include <utility>

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

class RetryableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  explicit RetryableFile(std::unique_ptr<FSWritableFile>&& file)
      : FSWritableFileOwnerWrapper(std::move(file)) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return Retryable(FSWritableFileOwnerWrapper::Append(data, options, debug));
  }
  IOStatus Append(const Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& info, IODebugContext* debug) override {
    return Retryable(FSWritableFileOwnerWrapper::Append(data, options, info, debug));
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    return Retryable(FSWritableFileOwnerWrapper::Truncate(size, options, debug));
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    return Retryable(FSWritableFileOwnerWrapper::Close(options, debug));
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* debug) override {
    return Retryable(FSWritableFileOwnerWrapper::Flush(options, debug));
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return Retryable(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Retryable(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }
  IOStatus RangeSync(uint64_t offset, uint64_t bytes, const IOOptions& options,
                     IODebugContext* debug) override {
    return Retryable(FSWritableFileOwnerWrapper::RangeSync(offset, bytes, options, debug));
  }
};

class RetryableDirectory : public rocksdb::FSDirectoryWrapper {
 public:
  explicit RetryableDirectory(std::unique_ptr<FSDirectory>&& directory)
      : FSDirectoryWrapper(std::move(directory)) {}
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Retryable(FSDirectoryWrapper::Fsync(options, debug));
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& fsync) override {
    return Retryable(FSDirectoryWrapper::FsyncWithDirOptions(options, debug, fsync));
  }
};

class RetryableFileSystem : public rocksdb::FileSystemWrapper {
 public:
  RetryableFileSystem(const std::shared_ptr<rocksdb::FileSystem>& target,
                      std::function<void()> before_create)
      : FileSystemWrapper(target), before_create_(std::move(before_create)) {}
  const char* Name() const override { return "longleaf.RetryableFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options,
                           std::unique_ptr<FSWritableFile>* result,
                           IODebugContext* debug) override {
    before_create_();
    return Wrap(FileSystemWrapper::NewWritableFile(name, options, result, debug), result);
  }
  IOStatus ReopenWritableFile(const std::string& name, const FileOptions& options,
                              std::unique_ptr<FSWritableFile>* result,
                              IODebugContext* debug) override {
    return Wrap(FileSystemWrapper::ReopenWritableFile(name, options, result, debug), result);
  }
  IOStatus ReuseWritableFile(const std::string& name, const std::string& old_name,
                             const FileOptions& options, std::unique_ptr<FSWritableFile>* result,
                             IODebugContext* debug) override {
    return Wrap(FileSystemWrapper::ReuseWritableFile(name, old_name, options, result, debug),
                result);
  }
  IOStatus NewDirectory(const std::string& name, const IOOptions& options,
                        std::unique_ptr<FSDirectory>* result, IODebugContext* debug) override {
    const IOStatus status = FileSystemWrapper::NewDirectory(name, options, result, debug);
    if (status.ok()) *result = std::make_unique<RetryableDirectory>(std::move(*result));
    return status;
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    return Retryable(FileSystemWrapper::RenameFile(from, to, options, debug));
  }
  IOStatus LinkFile(const std::string& from, const std::string& to, const IOOptions& options,
                    IODebugContext* debug) override {
    return Retryable(FileSystemWrapper::LinkFile(from, to, options, debug));
  }

 private:
  static IOStatus Wrap(const IOStatus& status, std::unique_ptr<FSWritableFile>* file) {
    if (!status.ok()) return Retryable(status);
    *file = std::make_unique<RetryableFile>(std::move(*file));
    return status;
  }

  const std::function<void()> before_create_;
};

}  // namespace

std::shared_ptr<rocksdb::FileSystem> MakeRetryable(std::shared_ptr<rocksdb::FileSystem> target,
                                                   std::function<void()> before_create) {
  return std::make_shared<RetryableFileSystem>(std::move(target), std::move(before_create));
}

bool MeansNoSpace(std::string_view message) {
  return message.find(kNoSpace) != std::string_view::npos;
}

}  // namespace longleaf::store::internal
