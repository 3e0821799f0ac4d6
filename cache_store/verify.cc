// Opening a store to look only, its files and its log; the rows are in verify_documents.cc and
// verify_snapshots.cc.
#include "cache_store/verify.h"

#include <rocksdb/metadata.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_reader.h>

#include <algorithm>
#include <utility>

#include "cache_store/coding.h"
#include "cache_store/directory_check.h"
#include "cache_store/id_counter.h"
#include "cache_store/message.h"
#include "cache_store/verifier.h"

namespace longleaf::store {
namespace internal {
namespace {

rocksdb::Options ReadOnlyOptions(rocksdb::Env* env) {
  rocksdb::Options options;
  options.env = env;
  options.info_log = std::make_shared<NoLog>();
  options.max_open_files = 512;
  return options;
}

}  // namespace

Verifier::Verifier(const VerifyOptions& options)
    : options_(options), env_(rocksdb::NewCompositeEnv(rocksdb::FileSystem::Default())) {
  for (size_t i = 0; i < kFamilyCount; ++i) counts_[i].name = FamilyName(static_cast<Family>(i));
  files_.name = "files";
  log_.name = "log";
}

Verifier::~Verifier() {
  for (rocksdb::ColumnFamilyHandle* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  db_.reset();
  if (lock_ != nullptr) env_->UnlockFile(lock_);
}

void Verifier::Damage(std::string where, std::string what) {
  ++report_.damage;
  if (report_.findings.size() < VerifyReport::kMaxFindings) {
    report_.findings.push_back({Severity::kDamage, std::move(where), std::move(what)});
  }
}

void Verifier::Orphan(std::string where, std::string what) {
  ++report_.orphans;
  if (report_.findings.size() < VerifyReport::kMaxFindings) {
    report_.findings.push_back({Severity::kOrphan, std::move(where), std::move(what)});
  }
}

absl::StatusOr<VerifyReport> Verifier::Run() {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckDirectory());
  if (Open()) {
    CheckFiles();
    CheckDocuments();
    CheckRequests();
    CheckChunks(Family::kText);
    CheckChunks(Family::kTokens);
    CheckManifests();
    CheckSegments();
    CheckClaims();
    CheckAsked();
    CheckMeta();  // last: it compares the counters with every number that was met
  }
  report_.counts.assign(counts_.begin(), counts_.end());
  report_.counts.push_back(files_);
  report_.counts.push_back(log_);
  return std::move(report_);
}

absl::Status Verifier::CheckDirectory() {
  std::vector<std::string> names;
  if (!env_->GetChildren(options_.path, &names).ok() || !HoldsDatabase(*env_, options_.path)) {
    return absl::NotFoundError(Message("there is no store at ", options_.path));
  }
  // Kept while the files are read; on a disk that cannot be written nobody else has it either.
  const std::string lock = options_.path + "/LOCK";
  if (env_->FileExists(lock).ok()) {
    const rocksdb::Status locked = env_->LockFile(lock, &lock_);
    if (!locked.ok() && locked.ToString().find("open a file for lock") == std::string::npos) {
      return absl::UnavailableError(Message("the store at ", options_.path,
                                            " is in use by another process; stop it first (",
                                            locked.ToString(), ")"));
    }
  }
  if (const absl::Status status = CheckDatabaseFiles(*env_, options_.path); !status.ok()) {
    Damage("directory", std::string(status.message()));
    return absl::OkStatus();
  }
  const absl::Status reaches = CheckManifestReachesLog(ReadOnlyOptions(env_.get()), options_.path,
                                                       options_.path + "/incoming");
  if (!reaches.ok()) Damage("directory", std::string(reaches.message()));
  return absl::OkStatus();
}

rocksdb::Status Verifier::OpenOnce(bool skip_damage, const std::vector<std::string>& names) {
  rocksdb::Options options = ReadOnlyOptions(env_.get());
  options.paranoid_checks = !skip_damage;
  options.wal_recovery_mode = skip_damage ? rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords
                                          : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const std::string& name : names) descriptors.emplace_back(name, options);
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::OpenForReadOnly(options, options_.path, descriptors, &handles_, &raw);
  if (status.ok()) db_.reset(raw);
  return status;
}

bool Verifier::Open() {
  std::vector<std::string> names;
  rocksdb::Status status =
      rocksdb::DB::ListColumnFamilies(ReadOnlyOptions(env_.get()), options_.path, &names);
  if (!status.ok()) {
    Damage("database", Message("its MANIFEST cannot be read: ", status.ToString()));
    return false;
  }
  status = OpenOnce(/*skip_damage=*/false, names);
  if (!status.ok()) {
    Damage("database", Message("a store does not open as it is: ", status.ToString()));
    status = OpenOnce(/*skip_damage=*/true, names);
  }
  if (!status.ok()) {
    Damage("database", Message("nor without its checks: ", status.ToString()));
    return false;
  }
  for (size_t i = 0; i < kFamilyCount; ++i) {
    const auto found = std::find_if(
        handles_.begin(), handles_.end(),
        [&](const rocksdb::ColumnFamilyHandle* h) { return h->GetName() == counts_[i].name; });
    if (found != handles_.end()) families_[i] = *found;
  }
  return true;
}

void Verifier::CheckFiles() {
  std::vector<rocksdb::LiveFileMetaData> live;
  db_->GetLiveFilesMetaData(&live);
  std::set<std::string> known;
  for (const rocksdb::LiveFileMetaData& file : live) {
    const std::string name = file.name.substr(file.name.rfind('/') + 1);
    const std::string path = options_.path + "/" + name;
    const std::string where = Message("file ", name, " of ", file.column_family_name);
    known.insert(name);
    ++files_.rows;
    uint64_t size = 0;
    if (!env_->GetFileSize(path, &size).ok()) {
      Damage(where, "is missing");
      continue;
    }
    files_.bytes += static_cast<int64_t>(size);
    if (size != file.size) {
      Damage(where, Message("has ", size, " bytes, not ", file.size));
    }
    rocksdb::SstFileReader reader(ReadOnlyOptions(env_.get()));
    rocksdb::Status status = reader.Open(path);
    if (status.ok()) status = reader.VerifyChecksum();
    if (!status.ok()) Damage(where, status.ToString());
  }
  std::vector<std::string> names;
  env_->GetChildren(options_.path, &names);
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    if (name.ends_with(".sst") && !known.contains(name)) {
      Orphan(Message("file ", name), "belongs to nothing; the next start removes it");
    }
    uint64_t size = 0;
    if (name.ends_with(".log") && env_->GetFileSize(options_.path + "/" + name, &size).ok()) {
      ++log_.rows;
      log_.bytes += static_cast<int64_t>(size);
    }
  }
  names.clear();
  env_->GetChildren(options_.path + "/incoming", &names);
  for (const std::string& name : names) {
    if (name == "." || name == "..") continue;
    Orphan(Message("file incoming/", name), "was never finished; the next start removes it");
  }
}

void Verifier::EachRow(Family family,
                       absl::FunctionRef<void(std::string_view, std::string_view)> use,
                       absl::FunctionRef<std::string(const std::string&)> resume) {
  const size_t index = static_cast<size_t>(family);
  if (families_[index] == nullptr) {
    Damage(counts_[index].name, "the column family is missing");
    return;
  }
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> row(db_->NewIterator(options, families_[index]));
  std::string last;
  row->SeekToFirst();
  while (true) {
    for (; row->Valid(); row->Next()) {
      last = row->key().ToString();
      ++counts_[index].rows;
      counts_[index].bytes += static_cast<int64_t>(row->key().size() + row->value().size());
      use(FromSlice(row->key()), FromSlice(row->value()));
    }
    if (row->status().ok()) return;
    Damage(counts_[index].name, Message("rows that cannot be read: ", row->status().ToString()));
    std::string next = resume(last);
    if (next.empty() || report_.damage > static_cast<int64_t>(VerifyReport::kMaxFindings)) return;
    row->Seek(next);
  }
}

void Verifier::CheckMeta() {
  std::map<std::string, int64_t> in_use = {{"next-document", last_serial_},
                                           {"next-segment", last_segment_}};
  bool schema = false;
  EachRow(Family::kMeta, [&](std::string_view key, std::string_view value) {
    const std::string name(key);
    if (name == "schema") {
      schema = true;
      const absl::Status status = CheckLayout(value);
      if (!status.ok()) Damage(name, std::string(status.message()));
      return;
    }
    const auto counter = in_use.find(name);
    if (counter == in_use.end()) {
      Damage("default", "a key that the store does not have");
      return;
    }
    const absl::StatusOr<int64_t> next = DecodeCounter(value, name);
    if (!next.ok()) {
      Damage(name, std::string(next.status().message()));
    } else if (*next <= counter->second) {
      Damage(name, Message("is ", *next, ", but ", counter->second, " is in use"));
    }
    in_use.erase(counter);
  });
  if (!schema) Damage("schema", "the record of the store's layout version is missing");
  for (const auto& [name, number] : in_use) {
    if (number > 0) Damage(name, Message("is missing, but ", number, " is in use"));
  }
}

}  // namespace internal

absl::StatusOr<VerifyReport> VerifyStore(const VerifyOptions& options) {
  return internal::Verifier(options).Run();
}

}  // namespace longleaf::store
