// Rebuilding the snapshot index when the store opens.
//
// What does not hold together is removed: snapshots are a cache, and a state that is not certainly
// the right one is no state.
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "cache_store/asked.h"
#include "cache_store/coding.h"
#include "cache_store/keys.h"
#include "cache_store/message.h"
#include "cache_store/snapshots.h"

namespace longleaf::store::internal {

absl::Status SnapshotTable::Load() {
  const std::set<int64_t> on_disk = segments_.OnDisk();
  Batch repairs(database_);
  absl::Status status = LoadManifests(on_disk, repairs);
  if (status.ok()) status = LoadClaims(repairs);
  if (status.ok()) status = LoadAsked(repairs);
  if (absl::IsDataLoss(status)) {
    // Which rows are lost cannot be known, so all snapshots are made again.
    LONGLEAF_STORE_RETURN_IF_ERROR(database_.ClearSnapshotIndex());
    MutexLock lock(&index_mutex_);
    drops_[DropReason::kCorrupt] += std::max<int64_t>(1, static_cast<int64_t>(index_.size()));
    index_.clear();
    status = absl::OkStatus();
    repairs.Clear();
  }
  LONGLEAF_STORE_RETURN_IF_ERROR(status);
  if (!repairs.empty()) {
    LONGLEAF_STORE_RETURN_IF_ERROR(database_.Write(repairs, Durability::kSynced));
    database_.At(WritePoint::kRepairsWritten);
  }
  return RemoveOrphans(on_disk);
}

absl::Status SnapshotTable::LoadManifests(const std::set<int64_t>& on_disk, Batch& repairs) {
  std::map<int64_t, SegmentPtr> adopted;
  // Null for anything that is not certainly the snapshot of this key.
  const auto load = [&](const SnapshotKey& key, std::string_view bytes) -> SnapshotPtr {
    absl::StatusOr<Manifest> manifest = DecodeManifest(bytes);
    if (!manifest.ok() || manifest->key != key) return nullptr;
    std::vector<SegmentPtr> segments;
    for (const SegmentInfo& info : manifest->segments) {
      if (info.bytes > 0 && !on_disk.contains(info.id)) return nullptr;
      const auto known = adopted.find(info.id);
      if (known != adopted.end() &&
          (known->second->info() != info || known->second->tenant() != key.tenant)) {
        return nullptr;
      }
    }
    for (const SegmentInfo& info : manifest->segments) {
      SegmentPtr& segment = adopted[info.id];
      if (segment == nullptr) segment = segments_.Adopt(key.tenant, info);
      segments.push_back(segment);
    }
    return std::make_shared<const Snapshot>(key, std::move(segments), std::move(manifest->meta));
  };

  MutexLock lock(&index_mutex_);
  const std::unique_ptr<rocksdb::Iterator> row =
      database_.Scan(Family::kManifests, nullptr, nullptr);
  for (; row->Valid(); row->Next()) {
    SnapshotKey key;
    SnapshotPtr snapshot;
    if (ParseSnapshotKey(FromSlice(row->key()), &key)) {
      snapshot = load(key, FromSlice(row->value()));
    }
    if (snapshot == nullptr) {
      repairs.Delete(Family::kManifests, FromSlice(row->key()));
      ++drops_[DropReason::kCorrupt];
      continue;
    }
    index_[key].snapshot = std::move(snapshot);
  }
  return FromRocks(row->status());
}

absl::Status SnapshotTable::LoadClaims(Batch& repairs) {
  MutexLock lock(&index_mutex_);
  const std::unique_ptr<rocksdb::Iterator> row = database_.Scan(Family::kClaims, nullptr, nullptr);
  for (; row->Valid(); row->Next()) {
    SnapshotKey key;
    std::string document_id;
    const bool parsed = ParseClaimKey(FromSlice(row->key()), &key, &document_id);
    const auto found = parsed ? index_.find(key) : index_.end();
    if (found == index_.end()) {
      repairs.Delete(Family::kClaims, FromSlice(row->key()));
    } else {
      found->second.claims.insert(std::move(document_id));
    }
  }
  return FromRocks(row->status());
}

absl::Status SnapshotTable::LoadAsked(Batch& repairs) {
  MutexLock lock(&index_mutex_);
  const std::unique_ptr<rocksdb::Iterator> row = database_.Scan(Family::kAsked, nullptr, nullptr);
  for (; row->Valid(); row->Next()) {
    SnapshotKey key;
    const bool parsed = ParseSnapshotKey(FromSlice(row->key()), &key);
    const auto found = parsed ? index_.find(key) : index_.end();
    const std::optional<int64_t> asked = DecodeAsked(FromSlice(row->value()));
    if (found == index_.end() || !asked.has_value()) {
      repairs.Delete(Family::kAsked, FromSlice(row->key()));
      continue;
    }
    found->second.last_asked_us = *asked;
    last_tick_us_ = std::max(last_tick_us_, *asked);
  }
  return FromRocks(row->status());
}

absl::Status SnapshotTable::RemoveOrphans(const std::set<int64_t>& on_disk) {
  std::set<int64_t> orphans = on_disk;
  {
    MutexLock lock(&index_mutex_);
    for (const auto& [key, entry] : index_) {
      for (const SegmentPtr& segment : entry.snapshot->segments()) {
        orphans.erase(segment->info().id);
      }
    }
    orphans_removed_ = static_cast<int64_t>(orphans.size());
  }
  for (const int64_t id : orphans) {
    database_.At(WritePoint::kOrphanRemoving);
    LONGLEAF_STORE_RETURN_IF_ERROR(segments_.RemoveFromDisk(id));
    database_.At(WritePoint::kOrphanRemoved);
  }
  return absl::OkStatus();
}

}  // namespace longleaf::store::internal
