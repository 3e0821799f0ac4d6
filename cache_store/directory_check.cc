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

// The first block of a log (`last` false) or what comes after its last whole one.
absl::StatusOr<std::string> ReadBlock(rocksdb::Env& env, const std::string& file, bool last) {
  uint64_t size = 0;
  std::unique_ptr<rocksdb::RandomAccessFile> reader;
  rocksdb::Status status = env.GetFileSize(file, &size);
  if (status.ok()) status = env.NewRandomAccessFile(file, &reader, rocksdb::EnvOptions());
  if (!status.ok()) return FromRocks(status);
  const uint64_t begin = last ? size / kLogBlockBytes * kLogBlockBytes : 0;
  std::string buffer(std::min<uint64_t>(size - begin, kLogBlockBytes), '\0');
  if (buffer.empty()) return buffer;  // reading nothing is an error of RocksDB's
  rocksdb::Slice block;
  status = reader->Read(begin, buffer.size(), &block, buffer.data());
  if (!status.ok()) return FromRocks(status);
  return std::string(FromSlice(block));
}

absl::StatusOr<bool> HasDamagedTail(rocksdb::Env& env, const std::string& file) {
  const absl::StatusOr<std::string> block = ReadBlock(env, file, /*last=*/true);
  if (!block.ok()) return block.status();
  return IsDamagedTail(*block);
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

absl::Status CheckManifestReachesLog(const rocksdb::Options& options, const std::string& path,
                                     const std::string& empty_dir) {
  rocksdb::Env& env = *options.env;
  if (!HoldsDatabase(env, path) || !env.FileExists(empty_dir).ok()) return absl::OkStatus();
  uint64_t first = 0;  // of all logs: a log goes only when its writes are in files
  for (const std::string& name : Names(env, path)) {
    if (!IsNumbered(name, ".log")) continue;
    const absl::StatusOr<std::string> block = ReadBlock(env, path + "/" + name, /*last=*/false);
    const uint64_t sequence = block.ok() ? FirstSequence(*block) : 0;
    if (sequence > 0 && (first == 0 || sequence < first)) first = sequence;
  }
  if (first == 0) return absl::OkStatus();
  // Without its logs, a database is as new as its MANIFEST.
  rocksdb::Options without_logs = options;
  without_logs.wal_dir = empty_dir;
  without_logs.create_if_missing = false;
  without_logs.info_log = std::make_shared<NoLog>();
  rocksdb::DB* raw = nullptr;
  // What keeps it from opening will be said by who opens it.
  if (!rocksdb::DB::OpenForReadOnly(without_logs, path, &raw).ok()) return absl::OkStatus();
  const std::unique_ptr<rocksdb::DB> db(raw);
  const uint64_t known = db->GetLatestSequenceNumber();
  if (first <= known + 1) return absl::OkStatus();
  return absl::DataLossError(
      Message("the store at ", path, " is damaged: its MANIFEST ends at write ", known,
              ", its write-ahead log begins at ", first,
              "; the end of the MANIFEST, or a log, is missing. Nothing was changed; restore it "
              "from a backup"));
}

}  // namespace longleaf::store::internal
