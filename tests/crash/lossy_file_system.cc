// Stopping, losing what was not synced, and the books that it takes. What RocksDB calls is in
// lossy_file_operations.cc.
#include "tests/crash/lossy_file_system.h"

#include <filesystem>
#include <random>
#include <system_error>

namespace longleaf::store {
namespace fs = std::filesystem;

std::string_view DiskOperationName(DiskOperation operation) {
  switch (operation) {
    case DiskOperation::kCreate:
      return "create";
    case DiskOperation::kAppend:
      return "append";
    case DiskOperation::kSync:
      return "sync";
    case DiskOperation::kRename:
      return "rename";
    case DiskOperation::kLink:
      return "link";
    case DiskOperation::kDelete:
      return "delete";
    case DiskOperation::kCreateDirectory:
      return "create_directory";
    case DiskOperation::kSyncDirectory:
      return "sync_directory";
  }
  return "unknown";
}

LossyFileSystem::LossyFileSystem(std::string attic)
    : FileSystemWrapper(rocksdb::FileSystem::Default()), attic_(std::move(attic)) {}

LossyFileSystem::~LossyFileSystem() {
  std::error_code error;
  fs::remove_all(attic_, error);
}

void LossyFileSystem::Freeze() {
  MutexLock lock(&mutex_);
  frozen_ = true;
}

bool LossyFileSystem::frozen() {
  MutexLock lock(&mutex_);
  return frozen_;
}

std::string LossyFileSystem::Normal(const std::string& path) {
  fs::path normal = fs::path(path).lexically_normal();
  if (!normal.has_filename()) normal = normal.parent_path();
  return normal.string();
}

std::string LossyFileSystem::Parent(const std::string& path) {
  return fs::path(path).parent_path().string();
}

rocksdb::IOStatus LossyFileSystem::Trouble(const std::string& path, const std::error_code& error) {
  return rocksdb::IOStatus::IOError(path, error.message());
}

rocksdb::IOStatus LossyFileSystem::Ask(DiskOperation operation, const std::string& path) {
  return fault_ ? fault_(operation, path) : IOStatus::OK();
}

rocksdb::IOStatus LossyFileSystem::CheckAlive() {
  return frozen_ ? IOStatus::IOError("the disk stands still") : IOStatus::OK();
}

LossyFileSystem::ContentPtr LossyFileSystem::ContentOf(const std::string& path) {
  ContentPtr& content = contents_[path];
  if (content == nullptr) {
    content = std::make_shared<Content>();
    std::error_code error;
    const uint64_t size = fs::file_size(path, error);
    if (!error) content->size = content->synced = size;  // from before: durable
  }
  return content;
}

rocksdb::IOStatus LossyFileSystem::Displace(const std::string& path, Change* change) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return IOStatus::OK();
  fs::create_directories(attic_, error);
  change->displaced = attic_ + "/" + std::to_string(++in_attic_);
  change->displaced_content = ContentOf(path);
  fs::rename(path, change->displaced, error);
  if (error) return Trouble(path, error);
  contents_.erase(path);
  return IOStatus::OK();
}

void LossyFileSystem::Note(Change change) {
  changes_[Parent(change.path)].push_back(std::move(change));
}

bool LossyFileSystem::TakeBack(const Change& change) {
  std::error_code error;
  switch (change.kind) {
    case Change::Kind::kAppeared:
      fs::remove_all(change.path, error);
      contents_.erase(change.path);
      break;
    case Change::Kind::kRenamed:
      fs::rename(change.path, change.from, error);
      if (auto content = contents_.extract(change.path); !content.empty()) {
        content.key() = change.from;
        contents_.insert(std::move(content));
      }
      break;
    case Change::Kind::kDisappeared:
      break;
  }
  if (error) return false;
  if (change.displaced.empty()) return true;
  fs::rename(change.displaced, change.path, error);
  contents_[change.path] = change.displaced_content;
  return !error;
}

bool LossyFileSystem::LoseUnsynced(uint64_t seed) {
  std::mt19937_64 random(seed);
  // A number in [0, all]: how many survive.
  const auto survivors = [&](uint64_t all) { return seed == 0 ? 0 : random() % (all + 1); };
  MutexLock lock(&mutex_);
  frozen_ = true;
  bool done = true;
  // Deeper directories first: a folder that never came to be takes what is in it along.
  for (auto directory = changes_.rbegin(); directory != changes_.rend(); ++directory) {
    std::vector<Change>& changes = directory->second;
    const uint64_t keep = survivors(changes.size());
    while (changes.size() > keep) {
      done = TakeBack(changes.back()) && done;
      changes.pop_back();
    }
  }
  std::map<Content*, std::string> unsynced;
  for (const auto& [path, content] : contents_) {
    if (content->size > content->synced) unsynced[content.get()] = path;
  }
  for (const auto& [content, path] : unsynced) {
    std::error_code error;
    if (!fs::exists(path, error)) continue;  // with its folder
    fs::resize_file(path, content->synced + survivors(content->size - content->synced), error);
    done = done && !error;
  }
  return done;
}

rocksdb::IOStatus LossyFileSystem::SyncContent(const std::string& path, const ContentPtr& content) {
  const IOStatus fault = Ask(DiskOperation::kSync, path);
  MutexLock lock(&mutex_);
  const IOStatus status = CheckAlive();
  if (!status.ok()) return status;
  if (!fault.ok()) content->spoiled = true;
  if (!content->spoiled) content->synced = content->size;
  return fault;
}

rocksdb::IOStatus LossyFileSystem::SyncDirectory(const std::string& path) {
  const IOStatus fault = Ask(DiskOperation::kSyncDirectory, path);
  if (!fault.ok()) return fault;
  MutexLock lock(&mutex_);
  const IOStatus status = CheckAlive();
  if (!status.ok()) return status;
  for (const Change& change : changes_[path]) {
    std::error_code error;
    if (!change.displaced.empty()) fs::remove(change.displaced, error);
  }
  changes_.erase(path);
  return IOStatus::OK();
}

}  // namespace longleaf::store
