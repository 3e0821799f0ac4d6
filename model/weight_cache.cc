#include "model/weight_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace longleaf::model {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".packed";
constexpr std::string_view kUnfinished = ".packed.new";
constexpr size_t kKeyDigits = 32;
constexpr int kMaxEntries = 4096;  // of the directory that are looked at

// The weights that a head describes, by what is known before they are packed.
std::string KeyOf(PackedWeightsHead head) {
  head.weights_digest.clear();
  head.file_bytes = 0;
  for (WeightSource& source : head.sources) source.sha256.clear();
  for (PackedItem& item : head.items) item.offset = item.checksum = 0;
  const std::string text = head.Encode();
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(text.data(), text.size()));
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(canonical.digest), sizeof(canonical.digest)));
}

bool Matches(const PackedWeightsHead& found, const PackedWeightsHead& wanted) {
  return found.layout == wanted.layout && found.config == wanted.config &&
         std::equal(found.sources.begin(), found.sources.end(), wanted.sources.begin(),
                    wanted.sources.end(),
                    [](const WeightSource& a, const WeightSource& b) {
                      return a.name == b.name && a.identity == b.identity &&
                             (b.sha256.empty() || a.sha256 == b.sha256);
                    }) &&
         std::equal(found.items.begin(), found.items.end(), wanted.items.begin(),
                    wanted.items.end(), [](const PackedItem& a, const PackedItem& b) {
                      return a.name == b.name && a.kind == b.kind && a.shape == b.shape &&
                             a.bytes == b.bytes;
                    });
}

// Whether a file's name is one of ours.
bool IsNamed(const std::string& name, std::string_view suffix) {
  return name.size() == kKeyDigits + suffix.size() && name.ends_with(suffix) &&
         name.find_first_not_of("0123456789abcdef") == kKeyDigits;
}

// By its name and its first bytes; one that was never finished may have none yet.
bool IsOurs(const fs::directory_entry& entry) {
  std::error_code error;
  if (!entry.is_regular_file(error) || entry.is_symlink(error)) return false;
  const std::string name = entry.path().filename().string();
  if (IsNamed(name, kUnfinished)) return true;
  if (!IsNamed(name, kSuffix)) return false;
  char magic[8] = {};
  std::ifstream(entry.path(), std::ios::binary).read(magic, sizeof(magic));
  return std::string_view(magic, sizeof(magic)) == PackedWeightsHead::kMagic;
}

// Removes unfinished files, and finished ones but for `path` and the latest `keep` besides.
void Prune(const std::string& directory, const std::string& path, int64_t keep) {
  std::vector<std::pair<fs::file_time_type, fs::path>> finished;
  std::error_code error;
  fs::directory_iterator at(directory, error);
  for (int i = 0; !error && at != fs::directory_iterator() && i < kMaxEntries;
       at.increment(error), ++i) {
    if (!IsOurs(*at)) continue;
    std::error_code ignored;
    if (at->path().extension() != kSuffix) {
      fs::remove(at->path(), ignored);
    } else if (at->path() != path) {
      finished.emplace_back(at->last_write_time(ignored), at->path());
    }
  }
  std::sort(finished.begin(), finished.end(), std::greater<>());
  for (size_t i = static_cast<size_t>(std::max<int64_t>(keep, 0)); i < finished.size(); ++i) {
    std::error_code ignored;
    fs::remove(finished[i].second, ignored);
  }
}

absl::Status CheckRoom(const std::string& directory, int64_t bytes, int64_t leave_free) {
  struct statvfs disk = {};
  if (::statvfs(directory.c_str(), &disk) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", directory));
  }
  const uint64_t free = uint64_t{disk.f_bavail} * disk.f_frsize;
  const uint64_t needed = static_cast<uint64_t>(bytes) + static_cast<uint64_t>(leave_free);
  if (needed <= free) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat(directory, ": ", free, " bytes of the disk are free; the packed weights take ",
                   bytes, ", and ", leave_free, " are left for others"));
}

}  // namespace

WeightCacheEntry::~WeightCacheEntry() {
  writer_.reset();  // what is unfinished goes while the lock is held
  ::close(lock_);
}

void WeightCacheEntry::Add(size_t item, absl::Span<const std::byte> bytes) {
  if (!status_.ok()) return;
  status_ = writer_->Add(item, bytes);
  if (!status_.ok()) writer_.reset();  // gives the room back at once
}

absl::Status WeightCacheEntry::Finish() {
  if (status_.ok()) status_ = writer_->Finish(path_);
  return status_;
}

std::string WeightCache::PathOf(const PackedWeightsHead& head) const {
  return absl::StrCat(options_.directory, "/", KeyOf(head), std::string(kSuffix));
}

absl::StatusOr<std::shared_ptr<const PackedWeightsFile>> WeightCache::Find(
    const PackedWeightsHead& wanted) const {
  if (!on()) return absl::NotFoundError("no cache of packed weights");
  absl::StatusOr<std::shared_ptr<const PackedWeightsFile>> file =
      PackedWeightsFile::Open(PathOf(wanted));
  if (!file.ok()) return file.status();
  if (!Matches((*file)->head(), wanted)) {
    return absl::FailedPreconditionError(absl::StrCat(
        (*file)->path(), ": made from other files, or before a SHA256SUMS named them"));
  }
  if (absl::Status status = (*file)->Verify(); !status.ok()) return status;
  // The time of its last use, by which Prune chooses.
  static_cast<void>(::utimensat(AT_FDCWD, (*file)->path().c_str(), nullptr, 0));
  return file;
}

absl::StatusOr<std::unique_ptr<WeightCacheEntry>> WeightCache::Begin(PackedWeightsHead head,
                                                                     bool replace) const {
  const std::string& directory = options_.directory;
  std::error_code error;
  if (fs::create_directories(directory, error) && !error) {
    fs::permissions(directory, fs::perms::owner_all, error);
  }
  const std::string lock_path = directory + "/LOCK";
  const int lock = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (lock < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", lock_path));
  const std::string path = PathOf(head);
  std::unique_ptr<WeightCacheEntry> entry(new WeightCacheEntry(path, lock));
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return absl::UnavailableError(absl::StrCat("another process is writing in ", directory));
    }
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot lock ", lock_path));
  }
  if (replace) {
    fs::remove(path, error);
  } else if (fs::exists(path, error)) {
    return absl::AlreadyExistsError(path);
  }
  Prune(directory, path, options_.keep - 1);
  absl::Status status = CheckRoom(directory, head.file_bytes, options_.leave_free_bytes);
  if (!status.ok()) return status;
  const std::string unfinished =
      path.substr(0, path.size() - kSuffix.size()) + std::string(kUnfinished);
  auto writer = PackedWeightsWriter::Create(unfinished, std::move(head));
  if (!writer.ok()) return writer.status();
  entry->writer_ = *std::move(writer);
  return entry;
}

}  // namespace longleaf::model
