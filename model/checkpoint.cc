#include "model/checkpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "model/checksums.h"
#include "model/fingerprint.h"
#include "model/weight_plan.h"

namespace longleaf::model {
namespace {

using absl::Status;
using absl::StatusOr;

// A file system's clock may tick this seldom: what is written to a file within one tick after it
// was read cannot be seen by the time of its last change.
constexpr std::chrono::milliseconds kClockTick(20);

std::string NameIn(const SafetensorsFile& file) {
  return file.path().substr(file.path().rfind('/') + 1);
}

std::vector<WeightSource> SourcesOf(const WeightFiles& files,
                                    const std::map<std::string, std::string>& sums) {
  std::vector<WeightSource> sources;
  for (const auto& file : files.files()) {
    WeightSource& source = sources.emplace_back();
    source.name = NameIn(*file);
    source.identity = file->identity();
    if (const auto sum = sums.find(source.name); sum != sums.end()) source.sha256 = sum->second;
  }
  return sources;
}

// Lets the tick pass in which a source was changed last, so that a change after its reading begins
// gives it another time.
void WaitForNextTick(const std::vector<WeightSource>& sources) {
  const int64_t now = std::chrono::duration_cast<std::chrono::nanoseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  constexpr int64_t kTick = std::chrono::nanoseconds(kClockTick).count();
  const bool recent = std::any_of(
      sources.begin(), sources.end(),
      [now](const WeightSource& source) { return now - source.identity.changed_ns < kTick; });
  if (recent) std::this_thread::sleep_for(kClockTick);
}

}  // namespace

StatusOr<Checkpoint> Checkpoint::Open(const std::string& directory, kernels::Backend* backend,
                                      kernels::WeightFormat format,
                                      const WeightCacheOptions& cache) {
  Checkpoint opened(directory, backend, format, cache);
  // Their errors wait: that a file is damaged says more than what the damage did to it.
  StatusOr<WeightFiles> files = WeightFiles::Open(directory);
  StatusOr<Config> config = Config::Load(directory);
  StatusOr<std::map<std::string, std::string>> sums = ReadChecksums(directory);
  if (!sums.ok()) return sums.status();
  opened.sums_ = *sums;
  const Status readable = config.ok() ? files.status() : config.status();
  if (readable.ok()) {
    opened.files_ = *std::move(files);
    opened.config_ = *std::move(config);
    opened.LookInCache();
    if (opened.packed_ != nullptr) {
      for (const auto& file : opened.files_->files()) sums->erase(NameIn(*file));
    }
  }
  if (Status status = VerifyFiles(directory, *sums); !status.ok()) return status;
  if (!readable.ok()) return readable;
  return opened;
}

void Checkpoint::LookInCache() {
  const std::string layout = backend_->packed_layout();
  if (!cache_.on() || layout.empty()) return;
  StatusOr<std::vector<PackedItem>> items = PackedItemsOf(*config_, format_, *backend_);
  if (!items.ok()) return;  // nor will it pack them
  wanted_.layout = layout;
  wanted_.config = config_->Canonical();
  wanted_.sources = SourcesOf(*files_, sums_);
  wanted_.items = *std::move(items);
  report_.path = cache_.PathOf(wanted_);
  StatusOr<std::shared_ptr<const PackedWeightsFile>> found = cache_.Find(wanted_);
  if (found.ok()) {
    packed_ = *std::move(found);
  } else {
    if (!absl::IsNotFound(found.status())) report_.found = found.status();
    WaitForNextTick(wanted_.sources);
  }
}

bool Checkpoint::AllFilesNamed() const {
  return std::all_of(files_->files().begin(), files_->files().end(),
                     [this](const auto& file) { return sums_.contains(NameIn(*file)); });
}

StatusOr<Weights> Checkpoint::LoadWeights() {
  const bool checked = AllFilesNamed();
  StatusOr<Weights> weights = packed_ != nullptr ? Adopt() : Pack();
  if (!weights.ok()) return weights.status();
  weights->checked = checked;
  weights->cache = std::move(report_);
  return weights;
}

StatusOr<Weights> Checkpoint::Adopt() {
  StatusOr<Weights> weights =
      AdoptWeights(*std::move(files_), *config_, format_, *backend_, packed_);
  if (weights.ok()) {
    weights->digest = packed_->head().weights_digest;
    report_.bytes = packed_->head().file_bytes;
    report_.used = true;
    return weights;
  }
  // Whole, but nothing for this backend after all: begin anew, with what was left out so far.
  report_.found = weights.status();
  packed_ = nullptr;
  StatusOr<WeightFiles> files = WeightFiles::Open(directory_);
  if (!files.ok()) return files.status();
  files_ = *std::move(files);
  wanted_.sources = SourcesOf(*files_, sums_);
  if (Status status = VerifyFiles(directory_, sums_); !status.ok()) return status;
  return Pack();
}

StatusOr<Weights> Checkpoint::Pack() {
  std::unique_ptr<WeightCacheEntry> entry;
  if (!wanted_.items.empty()) {
    StatusOr<std::unique_ptr<WeightCacheEntry>> begun = BeginEntry();
    if (packed_ != nullptr) return Adopt();  // another process has just kept them
    report_.failed = begun.status();
    if (begun.ok()) entry = *std::move(begun);
  }
  PackedSink sink;
  if (entry != nullptr) {
    sink = [&entry](size_t item, absl::Span<const std::byte> bytes) { entry->Add(item, bytes); };
  }
  StatusOr<Weights> weights =
      model::LoadWeights(*std::move(files_), *config_, format_, *backend_, sink);
  if (!weights.ok()) return weights.status();
  weights->digest = wanted_.weights_digest;
  if (entry != nullptr) {
    report_.failed = CheckUnchanged();
    if (report_.failed.ok()) report_.failed = entry->Finish();
    report_.kept = report_.failed.ok();
    report_.bytes = wanted_.file_bytes;
  }
  return weights;
}

StatusOr<std::unique_ptr<WeightCacheEntry>> Checkpoint::BeginEntry() {
  wanted_.weights_digest = DigestWeights(*files_);
  if (Status status = wanted_.LayOut(); !status.ok()) return status;
  StatusOr<std::unique_ptr<WeightCacheEntry>> begun =
      cache_.Begin(wanted_, /*replace=*/!report_.found.ok());
  if (!absl::IsAlreadyExists(begun.status())) return begun;
  StatusOr<std::shared_ptr<const PackedWeightsFile>> found = cache_.Find(wanted_);
  if (found.ok()) {
    packed_ = *std::move(found);
  } else {
    report_.found = found.status();
  }
  return begun;
}

// A file that was written to while it was read may have been packed half and half.
Status Checkpoint::CheckUnchanged() const {
  for (const WeightSource& source : wanted_.sources) {
    const std::string path = absl::StrCat(directory_, "/", source.name);
    struct stat info = {};
    if (::stat(path.c_str(), &info) != 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
    }
    if (IdentityOf(info) != source.identity) {
      return absl::AbortedError(absl::StrCat(path, " was changed while it was read"));
    }
  }
  return absl::OkStatus();
}

}  // namespace longleaf::model
