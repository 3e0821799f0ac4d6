// Which snapshots there are, who uses them, when they were last asked for, and which go first.
//
// The index is in memory, rebuilt by Load from the manifests, claims and asked families; a manifest
// is written before it is in the index, and removed from the disk before it leaves it.
#ifndef LONGLEAF_CACHE_STORE_SNAPSHOTS_H_
#define LONGLEAF_CACHE_STORE_SNAPSHOTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cache_store/database.h"
#include "cache_store/disk_budget.h"
#include "cache_store/mutex.h"
#include "cache_store/segments.h"
#include "cache_store/store.h"

namespace longleaf::store::internal {

// Thread-safe. Locks are taken in the order mutation_mutex_, index_mutex_; the disk is never waited
// for under index_mutex_, so finding does not wait for committing.
class SnapshotTable {
 public:
  SnapshotTable(Database& database, DiskBudget& budget, SegmentTable& segments,
                std::function<int64_t()> clock);

  // Builds the index, removes what does not hold together. Once, before anything else.
  absl::Status Load();

  // `spec` as Store::CommitSnapshot; its document exists and cannot be deleted during the call.
  absl::StatusOr<SnapshotPtr> Commit(const CommitSpec& spec);
  absl::StatusOr<SnapshotPtr> Find(const SnapshotKey& key);
  absl::StatusOr<SnapshotPtr> FindLongestPrefix(const std::string& tenant,
                                                const Digest& fingerprint,
                                                absl::Span<const int32_t> tokens);
  bool Contains(const SnapshotKey& key);
  // The document exists and cannot be deleted during the call.
  absl::Status Claim(const SnapshotKey& key, const std::string& document_id);
  absl::Status Drop(const SnapshotKey& key, DropReason reason);

  // Writes `batch` (synced) together with letting go of the document's snapshots.
  absl::Status WriteReleasing(const DocumentName& document, Batch& batch);

  // Counts `bytes` under `use` when cap and free space allow, after evicting what is needed;
  // RESOURCE_EXHAUSTED, with nothing evicted in vain, when evicting cannot make the room.
  absl::Status Reserve(Use use, int64_t bytes);

  // Fills snapshots, drops, refused_writes and orphan_segments_removed.
  void AddStats(StoreStats& stats);

 private:
  struct Entry {
    SnapshotPtr snapshot;
    int64_t last_asked_us = 0;
    std::set<std::string> claims;  // ids of the documents that use it
  };
  using Index = std::map<SnapshotKey, Entry>;

  absl::Status LoadManifests(const std::set<int64_t>& on_disk, Batch& repairs);
  absl::Status LoadClaims(Batch& repairs);
  absl::Status LoadAsked(Batch& repairs);
  absl::Status RemoveOrphans(const std::set<int64_t>& on_disk);

  int64_t NextTick() ABSL_EXCLUSIVE_LOCKS_REQUIRED(index_mutex_);
  // Pins and notes the time. Null: not there.
  SnapshotPtr Touch(const SnapshotKey& key, int64_t* asked_us);
  void PersistAsked(const SnapshotKey& key, int64_t asked_us);

  // Removes the keys that exist, in the same write as `batch`.
  absl::Status RemoveLocked(const std::vector<SnapshotKey>& keys, DropReason reason, Batch& batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutation_mutex_);
  // The least recently asked that free at least `bytes`; empty when nothing can.
  std::vector<SnapshotKey> ChooseVictims(int64_t bytes);

  Database& database_;
  DiskBudget& budget_;
  SegmentTable& segments_;
  const std::function<int64_t()> clock_;

  Mutex mutation_mutex_;  // one change at a time
  Mutex index_mutex_;
  Index index_ ABSL_GUARDED_BY(index_mutex_);
  int64_t last_tick_us_ ABSL_GUARDED_BY(index_mutex_) = 0;
  std::map<DropReason, int64_t> drops_ ABSL_GUARDED_BY(index_mutex_);
  int64_t refused_writes_ ABSL_GUARDED_BY(index_mutex_) = 0;
  int64_t orphans_removed_ ABSL_GUARDED_BY(index_mutex_) = 0;
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_SNAPSHOTS_H_
