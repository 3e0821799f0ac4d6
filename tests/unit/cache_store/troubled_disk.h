// A disk that is full, fails or stalls while a test says so.
#ifndef LONGLEAF_TESTS_UNIT_CACHE_STORE_TROUBLED_DISK_H_
#define LONGLEAF_TESTS_UNIT_CACHE_STORE_TROUBLED_DISK_H_

#include <rocksdb/file_system.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace longleaf::store {

enum class Disk {
  kGood,
  kFull,
  kBroken,
  kStalled,  // writes, syncs and reads of files wait until it is another
};

// What the test turns; shared with every open file. Thread-safe.
class DiskState {
 public:
  std::atomic<uint64_t> free_bytes{uint64_t{1} << 40};

  void operator=(Disk disk) {
    const std::lock_guard<std::mutex> lock(mutex_);
    disk_ = disk;
    changed_.notify_all();
  }

  // For the operations that change something.
  rocksdb::IOStatus Write() {
    std::unique_lock<std::mutex> lock(mutex_);
    WaitLocked(lock);
    switch (disk_) {
      case Disk::kFull:
        return rocksdb::IOStatus::NoSpace("no space left on device");
      case Disk::kBroken:
        return rocksdb::IOStatus::IOError("input/output error");
      case Disk::kGood:
      case Disk::kStalled:
        break;
    }
    return rocksdb::IOStatus::OK();
  }
  void Read() {
    std::unique_lock<std::mutex> lock(mutex_);
    WaitLocked(lock);
  }

  // Returns once `count` operations wait on the stalled disk.
  void AwaitStalled(int count) {
    std::unique_lock<std::mutex> lock(mutex_);
    stalled_.wait(lock, [this, count] { return waiting_ >= count; });
  }

 private:
  void WaitLocked(std::unique_lock<std::mutex>& lock) {
    if (disk_ != Disk::kStalled) return;
    ++waiting_;
    stalled_.notify_all();
    changed_.wait(lock, [this] { return disk_ != Disk::kStalled; });
    --waiting_;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable stalled_;
  Disk disk_ = Disk::kGood;
  int waiting_ = 0;
};

class TroubledWritableFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  TroubledWritableFile(std::unique_ptr<rocksdb::FSWritableFile>&& file,
                       std::shared_ptr<DiskState> state)
      : FSWritableFileOwnerWrapper(std::move(file)), state_(std::move(state)) {}

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    const rocksdb::IOStatus status = state_->Write();
    return status.ok() ? FSWritableFileOwnerWrapper::Append(data, options, debug) : status;
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo&,
                           rocksdb::IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    const rocksdb::IOStatus status = state_->Write();
    return status.ok() ? FSWritableFileOwnerWrapper::Sync(options, debug) : status;
  }

 private:
  const std::shared_ptr<DiskState> state_;
};

class TroubledReadableFile : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  TroubledReadableFile(std::unique_ptr<rocksdb::FSRandomAccessFile>&& file,
                       std::shared_ptr<DiskState> state)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), state_(std::move(state)) {}

  rocksdb::IOStatus Read(uint64_t offset, size_t bytes, const rocksdb::IOOptions& options,
                         rocksdb::Slice* result, char* scratch,
                         rocksdb::IODebugContext* debug) const override {
    state_->Read();
    return FSRandomAccessFileOwnerWrapper::Read(offset, bytes, options, result, scratch, debug);
  }

 private:
  const std::shared_ptr<DiskState> state_;
};

class TroubledFileSystem : public rocksdb::FileSystemWrapper {
 public:
  explicit TroubledFileSystem(std::shared_ptr<DiskState> state)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), state_(std::move(state)) {}
  const char* Name() const override { return "TroubledFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = state_->Write();
    if (!status.ok()) return status;
    std::unique_ptr<rocksdb::FSWritableFile> file;
    status = FileSystemWrapper::NewWritableFile(name, options, &file, debug);
    if (status.ok()) *result = std::make_unique<TroubledWritableFile>(std::move(file), state_);
    return status;
  }
  rocksdb::IOStatus NewRandomAccessFile(const std::string& name,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                        rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    const rocksdb::IOStatus status =
        FileSystemWrapper::NewRandomAccessFile(name, options, &file, debug);
    if (status.ok()) *result = std::make_unique<TroubledReadableFile>(std::move(file), state_);
    return status;
  }
  rocksdb::IOStatus GetFreeSpace(const std::string&, const rocksdb::IOOptions&, uint64_t* free,
                                 rocksdb::IODebugContext*) override {
    *free = state_->free_bytes.load();
    return rocksdb::IOStatus::OK();
  }

 private:
  const std::shared_ptr<DiskState> state_;
};

}  // namespace longleaf::store

#endif  // LONGLEAF_TESTS_UNIT_CACHE_STORE_TROUBLED_DISK_H_
