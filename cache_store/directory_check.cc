#include "cache_store/directory_check.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <string_view>
#include <vector>

#include "cache_store/database.h"
#include "cache_store/log_tail.h"
#include "cache_store/message.h"

namespace longleaf::store::internal {
namespace {

constexpr std::string_view kManifest = "MANIFEST-";
constexpr std::string_view kFirstManifest = "MANIFEST-000001";

bool AllDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c); });
}

bool IsManifest(std::string_view name) {
  return name.starts_with(kManifest) && AllDigits(name.substr(kManifest.size()));
}
bool IsNumbered(std::string_view name, std::string_view suffix) {
  return name.ends_with(suffix) && AllDigits(name.substr(0, name.size() - suffix.size()));
}

std::vector<std::string> Names(rocksdb::Env& env, const std::string& path) {
  std::vector<std::string> names;
  env.GetChildren(path, &names).PermitUncheckedError();
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<bool> HasDamagedTail(rocksdb::Env& env, const std::string& file) {
  uint64_t size = 0;
  if (const rocksdb::Status status = env.GetFileSize(file, &size); !status.ok()) {
    return FromRocks(status);
  }
  std::unique_ptr<rocksdb::RandomAccessFile> reader;
  if (const rocksdb::Status status = env.NewRandomAccessFile(file, &reader, rocksdb::EnvOptions());
      !status.ok()) {
    return FromRocks(status);
  }
  const uint64_t begin = size / kLogBlockBytes * kLogBlockBytes;
  std::string buffer(size - begin, '\0');
  rocksdb::Slice block;
  if (const rocksdb::Status status = reader->Read(begin, buffer.size(), &block, buffer.data());
      !status.ok()) {
    return FromRocks(status);
  }
  return IsDamagedTail(FromSlice(block));
}

}  // namespace

bool HoldsDatabase(rocksdb::Env& env, const std::string& path) {
  const std::vector<std::string> names = Names(env, path);
  return std::any_of(names.begin(), names.end(), [](const std::string& name) {
    return name == "CURRENT" || IsNumbered(name, ".sst") || IsNumbered(name, ".log") ||
           (IsManifest(name) && name != kFirstManifest);
  });
}

absl::Status CheckDatabaseFiles(rocksdb::Env& env, const std::string& path) {
  if (!HoldsDatabase(env, path)) return absl::OkStatus();
  const std::vector<std::string> names = Names(env, path);
  std::string newest;  // MANIFEST; names of equal length order as their numbers
  bool has_log = false;
  for (const std::string& name : names) {
    if (IsManifest(name)) newest = name;
    has_log = has_log || IsNumbered(name, ".log");
  }
  const auto lost = [&](std::string_view what, std::string_view remedy) {
    return absl::DataLossError(Message("the store at ", path, " is damaged: ", what,
                                       ". Nothing was changed; restore it from a backup", remedy));
  };
  std::string current;
  const rocksdb::Status read = rocksdb::ReadFileToString(&env, path + "/CURRENT", &current);
  if (!read.ok() && !read.IsNotFound() && !read.IsPathNotFound() &&
      env.FileExists(path + "/CURRENT").ok()) {
    return FromRocks(read);
  }
  std::string_view name = current;
  if (name.ends_with('\n')) name.remove_suffix(1);
  if (!IsManifest(name) || current.size() == name.size() ||
      !std::binary_search(names.begin(), names.end(), std::string(name))) {
    return lost(!read.ok() ? "the file CURRENT is missing"
                           : "the file CURRENT does not name a MANIFEST that is there",
                newest.empty() ? std::string()
                               : Message(", or write the line ", newest, " into ", path,
                                         "/CURRENT if no other MANIFEST was ever there"));
  }
  const std::string manifest = path + "/" + std::string(name);
  const absl::StatusOr<bool> damaged = HasDamagedTail(env, manifest);
  if (!damaged.ok()) return damaged.status();
  if (*damaged) return lost(Message(manifest, " has a wrong byte in its last part"), "");
  // Every start makes a log before it writes its MANIFEST; only the very first one has none yet.
  if (!has_log && name != kFirstManifest) {
    return lost("its write-ahead log (NNNNNN.log) is missing, and with it what was written last",
                Message(", or make an empty file ", path,
                        "/000001.log to go on without what that log held"));
  }
  return absl::OkStatus();
}

std::string FindDamagedLog(rocksdb::Env& env, const std::string& path) {
  for (const std::string& name : Names(env, path)) {
    if (!IsNumbered(name, ".log")) continue;
    const absl::StatusOr<bool> damaged = HasDamagedTail(env, path + "/" + name);
    if (damaged.ok() && *damaged) return name;
  }
  return "";
}

}  // namespace longleaf::store::internal
