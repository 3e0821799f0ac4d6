// Making room: which snapshots go when the cap or the disk is reached.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "cache_store/coding.h"
#include "cache_store/message.h"
#include "cache_store/snapshots.h"

namespace longleaf::store::internal {
namespace {

// A victim may be pinned by a reader between being chosen and being removed, and another caller may
// take the room that was made; more rounds than this are a disk that gives nothing back.
constexpr int kRounds = 4;

}  // namespace

absl::Status SnapshotTable::Reserve(Use use, int64_t bytes) {
  if (bytes < 0) return absl::InvalidArgumentError("negative length");
  int64_t missing_on_disk = 0;
  absl::Status disk = database_.CheckFreeSpace(bytes, &missing_on_disk);
  if (disk.ok() && budget_.TryAdd(use, bytes)) return absl::OkStatus();

  MutexLock mutation(&mutation_mutex_);
  for (int round = 0; round < kRounds; ++round) {
    (void)segments_.Reclaim();  // what is dropped already; what fails is still counted
    disk = database_.CheckFreeSpace(bytes, &missing_on_disk);
    if (disk.ok() && budget_.TryAdd(use, bytes)) return absl::OkStatus();
    const std::vector<SnapshotKey> victims =
        ChooseVictims(std::max(missing_on_disk, budget_.MissingFor(bytes)));
    if (victims.empty()) break;
    Batch batch(database_);
    database_.At(WritePoint::kSnapshotsEvicting);
    LONGLEAF_STORE_RETURN_IF_ERROR(RemoveLocked(victims, DropReason::kCapacity, batch));
    database_.At(WritePoint::kSnapshotsEvicted);
  }
  MutexLock lock(&index_mutex_);
  ++refused_writes_;
  if (!disk.ok()) return disk;
  return absl::ResourceExhaustedError(
      Message("the disk cap of ", budget_.cap(), " bytes leaves no room for ", bytes,
              " more, and no snapshot that could go would free enough"));
}

std::vector<SnapshotKey> SnapshotTable::ChooseVictims(int64_t bytes) {
  MutexLock lock(&index_mutex_);
  // Whoever holds a segment besides the index's own snapshots pins it.
  std::unordered_map<const Segment*, int64_t> holders;
  std::vector<const Entry*> unpinned;
  for (const auto& [key, entry] : index_) {
    if (entry.snapshot.use_count() == 1) unpinned.push_back(&entry);
    for (const SegmentPtr& segment : entry.snapshot->segments()) ++holders[segment.get()];
  }
  std::sort(unpinned.begin(), unpinned.end(),
            [](const Entry* a, const Entry* b) { return a->last_asked_us < b->last_asked_us; });
  std::vector<SnapshotKey> victims;
  int64_t freed = 0;
  std::unordered_map<const Segment*, int64_t> remaining = holders;
  for (const Entry* entry : unpinned) {
    if (freed >= bytes) break;
    victims.push_back(entry->snapshot->key());
    for (const SegmentPtr& segment : entry->snapshot->segments()) {
      if (--remaining[segment.get()] == 0 && segment.use_count() == holders[segment.get()]) {
        freed += segment->info().stored_bytes;
      }
    }
  }
  if (freed < bytes) victims.clear();
  return victims;
}

void SnapshotTable::AddStats(StoreStats& stats) {
  MutexLock lock(&index_mutex_);
  stats.snapshots = static_cast<int64_t>(index_.size());
  stats.drops = drops_;
  stats.refused_writes = refused_writes_;
  stats.orphan_segments_removed = orphans_removed_;
}

}  // namespace longleaf::store::internal
