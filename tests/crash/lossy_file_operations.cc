// What RocksDB calls: each operation on the real disk, and the note that it takes to undo it.
#include <filesystem>
#include <utility>

#include "tests/crash/lossy_file_system.h"

namespace longleaf::store {

namespace fs = std::filesystem;
using rocksdb::FileOptions;
using rocksdb::FSDirectory;
using rocksdb::FSWritableFile;
using rocksdb::IOOptions;
using rocksdb::Slice;

// A file being written. Its bytes go through at once; only their fate in a crash is kept apart.
class LossyFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  LossyFile(LossyFileSystem& disk, std::string path, LossyFileSystem::ContentPtr content,
            std::unique_ptr<FSWritableFile>&& file)
      : FSWritableFileOwnerWrapper(std::move(file)),
        disk_(disk),
        path_(std::move(path)),
        content_(std::move(content)) {}

  rocksdb::IOStatus Append(const Slice& data, const IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    const rocksdb::IOStatus fault = disk_.Ask(DiskOperation::kAppend, path_);
    const Slice written(data.data(), fault.ok() ? data.size() : data.size() / 2);
    MutexLock lock(&disk_.mutex_);
    rocksdb::IOStatus status = disk_.CheckAlive();
    if (!status.ok()) return status;
    status = FSWritableFileOwnerWrapper::Append(written, options, debug);
    if (!status.ok()) return status;
    content_->size += written.size();
    return fault;
  }
  rocksdb::IOStatus Append(const Slice& data, const IOOptions& options,
                           const rocksdb::DataVerificationInfo&,
                           rocksdb::IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  rocksdb::IOStatus PositionedAppend(const Slice&, uint64_t, const IOOptions&,
                                     rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::NotSupported("PositionedAppend");
  }
  rocksdb::IOStatus PositionedAppend(const Slice&, uint64_t, const IOOptions&,
                                     const rocksdb::DataVerificationInfo&,
                                     rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::NotSupported("PositionedAppend");
  }
  rocksdb::IOStatus Truncate(uint64_t, const IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::NotSupported("Truncate");
  }
  rocksdb::IOStatus Sync(const IOOptions&, rocksdb::IODebugContext*) override {
    return disk_.SyncContent(path_, content_);
  }
  rocksdb::IOStatus Fsync(const IOOptions&, rocksdb::IODebugContext*) override {
    return disk_.SyncContent(path_, content_);
  }
  rocksdb::IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&,
                              rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();  // begins to write; promises nothing
  }
  // No preallocation: closing would set the length again, perhaps after the crash.
  void PrepareWrite(size_t, size_t, const IOOptions&, rocksdb::IODebugContext*) override {}
  rocksdb::IOStatus Allocate(uint64_t, uint64_t, const IOOptions&,
                             rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }

 private:
  LossyFileSystem& disk_;
  const std::string path_;
  const LossyFileSystem::ContentPtr content_;
};

class LossyDirectory : public FSDirectory {
 public:
  LossyDirectory(LossyFileSystem& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  rocksdb::IOStatus Fsync(const IOOptions&, rocksdb::IODebugContext*) override {
    return disk_.SyncDirectory(path_);
  }
  rocksdb::IOStatus Close(const IOOptions&, rocksdb::IODebugContext*) override {
    return rocksdb::IOStatus::OK();
  }

 private:
  LossyFileSystem& disk_;
  const std::string path_;
};

// ---- rocksdb::FileSystem -----------------------------------------------------------------------

rocksdb::IOStatus LossyFileSystem::NewWritableFile(const std::string& name,
                                                   const FileOptions& options,
                                                   std::unique_ptr<FSWritableFile>* result,
                                                   Debug* debug) {
  Change change;
  change.path = Normal(name);
  const IOStatus fault = Ask(DiskOperation::kCreate, change.path);
  if (!fault.ok()) return fault;
  MutexLock lock(&mutex_);
  IOStatus status = CheckAlive();
  if (!status.ok()) return status;
  status = Displace(change.path, &change);
  if (!status.ok()) return status;
  std::unique_ptr<FSWritableFile> file;
  status = FileSystemWrapper::NewWritableFile(name, options, &file, debug);
  if (!status.ok()) return status;
  const ContentPtr content = contents_[change.path] = std::make_shared<Content>();
  *result = std::make_unique<LossyFile>(*this, change.path, content, std::move(file));
  Note(std::move(change));
  return status;
}

rocksdb::IOStatus LossyFileSystem::ReopenWritableFile(const std::string& name,
                                                      const FileOptions& options,
                                                      std::unique_ptr<FSWritableFile>* result,
                                                      Debug* debug) {
  const std::string path = Normal(name);
  const IOStatus fault = Ask(DiskOperation::kCreate, path);
  if (!fault.ok()) return fault;
  MutexLock lock(&mutex_);
  IOStatus status = CheckAlive();
  if (!status.ok()) return status;
  std::error_code error;
  const bool existed = fs::exists(path, error);
  std::unique_ptr<FSWritableFile> file;
  status = FileSystemWrapper::ReopenWritableFile(name, options, &file, debug);
  if (!status.ok()) return status;
  *result = std::make_unique<LossyFile>(*this, path, ContentOf(path), std::move(file));
  if (!existed) Note({Change::Kind::kAppeared, path, "", "", nullptr});
  return status;
}

rocksdb::IOStatus LossyFileSystem::ReuseWritableFile(const std::string&, const std::string&,
                                                     const FileOptions&,
                                                     std::unique_ptr<FSWritableFile>*, Debug*) {
  return IOStatus::NotSupported("ReuseWritableFile");
}

rocksdb::IOStatus LossyFileSystem::NewRandomRWFile(const std::string&, const FileOptions&,
                                                   std::unique_ptr<rocksdb::FSRandomRWFile>*,
                                                   Debug*) {
  return IOStatus::NotSupported("NewRandomRWFile");
}

rocksdb::IOStatus LossyFileSystem::NewDirectory(const std::string& name, const IOOptions& options,
                                                std::unique_ptr<FSDirectory>* result,
                                                Debug* debug) {
  std::unique_ptr<FSDirectory> there;  // only to see that it exists
  const IOStatus status = FileSystemWrapper::NewDirectory(name, options, &there, debug);
  if (status.ok()) *result = std::make_unique<LossyDirectory>(*this, Normal(name));
  return status;
}

// RocksDB's own text log is nobody's data.
rocksdb::IOStatus LossyFileSystem::NewLogger(const std::string& name, const IOOptions& options,
                                             std::shared_ptr<rocksdb::Logger>* result,
                                             Debug* debug) {
  if (frozen()) return IOStatus::IOError("the disk stands still");
  return FileSystemWrapper::NewLogger(name, options, result, debug);
}

rocksdb::IOStatus LossyFileSystem::DeleteFile(const std::string& name, const IOOptions&, Debug*) {
  Change change;
  change.kind = Change::Kind::kDisappeared;
  change.path = Normal(name);
  const IOStatus fault = Ask(DiskOperation::kDelete, change.path);
  if (!fault.ok()) return fault;
  MutexLock lock(&mutex_);
  IOStatus status = CheckAlive();
  if (!status.ok()) return status;
  status = Displace(change.path, &change);
  if (!status.ok()) return status;
  if (change.displaced.empty()) return IOStatus::PathNotFound(name);
  Note(std::move(change));
  return status;
}

rocksdb::IOStatus LossyFileSystem::Truncate(const std::string&, size_t, const IOOptions&, Debug*) {
  return IOStatus::NotSupported("Truncate");
}

rocksdb::IOStatus LossyFileSystem::CreateDir(const std::string& name, const IOOptions& options,
                                             Debug* debug) {
  const std::string path = Normal(name);
  const IOStatus fault = Ask(DiskOperation::kCreateDirectory, path);
  if (!fault.ok()) return fault;
  MutexLock lock(&mutex_);
  IOStatus status = CheckAlive();
  if (!status.ok()) return status;
  status = FileSystemWrapper::CreateDir(name, options, debug);
  if (status.ok()) Note({Change::Kind::kAppeared, path, "", "", nullptr});
  return status;
}

rocksdb::IOStatus LossyFileSystem::CreateDirIfMissing(const std::string& name,
                                                      const IOOptions& options, Debug* debug) {
  std::error_code error;
  if (fs::is_directory(name, error)) return IOStatus::OK();
  return CreateDir(name, options, debug);
}

rocksdb::IOStatus LossyFileSystem::DeleteDir(const std::string&, const IOOptions&, Debug*) {
  return IOStatus::NotSupported("DeleteDir");
}

rocksdb::IOStatus LossyFileSystem::RenameFile(const std::string& from, const std::string& to,
                                              const IOOptions& options, Debug* debug) {
  Change change;
  change.kind = Change::Kind::kRenamed;
  change.from = Normal(from);
  change.path = Normal(to);
  const IOStatus fault = Ask(DiskOperation::kRename, change.path);
  if (!fault.ok()) return fault;
  if (Parent(change.from) != Parent(change.path)) {
    return IOStatus::NotSupported("renaming from one directory to another");
  }
  MutexLock lock(&mutex_);
  IOStatus status = CheckAlive();
  if (!status.ok()) return status;
  std::error_code error;
  if (!fs::exists(change.from, error)) return IOStatus::PathNotFound(from);
  const ContentPtr content = ContentOf(change.from);
  status = Displace(change.path, &change);
  if (!status.ok()) return status;
  status = FileSystemWrapper::RenameFile(from, to, options, debug);
  if (!status.ok()) return status;
  contents_.erase(change.from);
  contents_[change.path] = content;
  Note(std::move(change));
  return status;
}

rocksdb::IOStatus LossyFileSystem::LinkFile(const std::string& from, const std::string& to,
                                            const IOOptions& options, Debug* debug) {
  const std::string path = Normal(to);
  const IOStatus fault = Ask(DiskOperation::kLink, path);
  if (!fault.ok()) return fault;
  MutexLock lock(&mutex_);
  IOStatus status = CheckAlive();
  if (!status.ok()) return status;
  const ContentPtr content = ContentOf(Normal(from));
  status = FileSystemWrapper::LinkFile(from, to, options, debug);
  if (!status.ok()) return status;
  contents_[path] = content;
  Note({Change::Kind::kAppeared, path, "", "", nullptr});
  return status;
}

}  // namespace longleaf::store
