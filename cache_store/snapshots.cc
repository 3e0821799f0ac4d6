// Finding, committing and dropping snapshots. Making room is in snapshots_evict.cc.
#include "cache_store/snapshots.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "cache_store/asked.h"
#include "cache_store/coding.h"
#include "cache_store/keys.h"
#include "cache_store/message.h"
#include "cache_store/sha256.h"

namespace longleaf::store::internal {
namespace {

absl::Status NoSnapshot() { return absl::NotFoundError("no such snapshot"); }

}  // namespace

SnapshotTable::SnapshotTable(Database& database, DiskBudget& budget, SegmentTable& segments,
                             std::function<int64_t()> clock)
    : database_(database), budget_(budget), segments_(segments), clock_(std::move(clock)) {}

int64_t SnapshotTable::NextTick() {
  // Strictly later than every other, so that the order of asking is never in doubt.
  last_tick_us_ = std::max(last_tick_us_ + 1, clock_());
  return last_tick_us_;
}

SnapshotPtr SnapshotTable::Touch(const SnapshotKey& key, int64_t* asked_us) {
  MutexLock lock(&index_mutex_);
  const auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  *asked_us = found->second.last_asked_us = NextTick();
  return found->second.snapshot;
}

void SnapshotTable::PersistAsked(const SnapshotKey& key, int64_t asked_us) {
  Batch batch(database_);
  batch.Put(Family::kAsked, SnapshotKeyBytes(key), EncodeAsked(asked_us));
  // Only the order of eviction after a restart hangs on it, so an error is nobody's concern.
  (void)database_.Write(batch, Durability::kLazy);
}

absl::StatusOr<SnapshotPtr> SnapshotTable::Find(const SnapshotKey& key) {
  int64_t asked_us = 0;
  SnapshotPtr snapshot = Touch(key, &asked_us);
  if (snapshot == nullptr) return NoSnapshot();
  PersistAsked(key, asked_us);
  return snapshot;
}

bool SnapshotTable::Contains(const SnapshotKey& key) {
  MutexLock lock(&index_mutex_);
  return index_.contains(key);
}

absl::StatusOr<SnapshotPtr> SnapshotTable::FindLongestPrefix(const std::string& tenant,
                                                             const Digest& fingerprint,
                                                             absl::Span<const int32_t> tokens) {
  const int64_t limit = static_cast<int64_t>(tokens.size());
  std::vector<SnapshotKey> candidates;  // ascending token counts, digests not yet known
  {
    MutexLock lock(&index_mutex_);
    SnapshotKey probe{tenant, fingerprint, 0, {}};
    for (auto at = index_.lower_bound(probe); at != index_.end(); at = index_.lower_bound(probe)) {
      const SnapshotKey& key = at->first;
      if (key.tenant != tenant || key.fingerprint != fingerprint || key.token_count > limit) break;
      probe.token_count = key.token_count;
      candidates.push_back(probe);
      ++probe.token_count;
    }
  }
  Sha256 sha;
  size_t hashed = 0;
  for (SnapshotKey& candidate : candidates) {
    const size_t count = static_cast<size_t>(candidate.token_count);
    sha.UpdateTokens(tokens.subspan(hashed, count - hashed));
    hashed = count;
    candidate.digest = sha.Value();
  }
  for (auto key = candidates.rbegin(); key != candidates.rend(); ++key) {
    absl::StatusOr<SnapshotPtr> found = Find(*key);
    if (found.ok()) return found;
  }
  return NoSnapshot();
}

absl::StatusOr<SnapshotPtr> SnapshotTable::Commit(const CommitSpec& spec) {
  Manifest manifest;
  manifest.key = spec.key;
  manifest.meta = spec.meta;
  for (const SegmentPtr& segment : spec.segments) {
    if (segment == nullptr || !segments_.Owns(*segment) || segment->tenant() != spec.key.tenant) {
      return absl::InvalidArgumentError("a segment is of another store or tenant");
    }
    manifest.segments.push_back(segment->info());
  }
  absl::StatusOr<std::string> bytes = EncodeManifest(manifest);
  if (!bytes.ok()) return bytes.status();

  MutexLock mutation(&mutation_mutex_);
  Batch batch(database_);
  SnapshotPtr stored;
  bool replace = spec.replaces.has_value() && *spec.replaces != spec.key;
  bool remove_replaced = false;
  int64_t asked_us = 0;
  {
    MutexLock lock(&index_mutex_);
    asked_us = NextTick();
    if (const auto found = index_.find(spec.key); found != index_.end()) {
      stored = found->second.snapshot;
    }
    const auto old = replace ? index_.find(*spec.replaces) : index_.end();
    replace = old != index_.end();
    if (replace) {
      const std::set<std::string>& claims = old->second.claims;
      remove_replaced = claims.empty() || claims == std::set<std::string>{spec.document_id};
    }
  }
  if (stored == nullptr) {
    batch.Put(Family::kManifests, SnapshotKeyBytes(spec.key), *bytes);
    batch.Put(Family::kAsked, SnapshotKeyBytes(spec.key), EncodeAsked(asked_us));
  }
  if (!spec.document_id.empty()) {
    batch.Put(Family::kClaims, ClaimKey(spec.key, spec.document_id), "");
  }
  std::vector<SnapshotKey> removed;
  if (remove_replaced) {
    removed.push_back(*spec.replaces);
  } else if (replace) {
    batch.Delete(Family::kClaims, ClaimKey(*spec.replaces, spec.document_id));
  }
  database_.At(WritePoint::kManifestCommitting);
  LONGLEAF_STORE_RETURN_IF_ERROR(RemoveLocked(removed, DropReason::kReplaced, batch));
  database_.At(WritePoint::kManifestCommitted);

  MutexLock lock(&index_mutex_);
  Entry& entry = index_[spec.key];
  if (stored == nullptr) {
    entry.snapshot = std::make_shared<const Snapshot>(spec.key, spec.segments, spec.meta);
    entry.last_asked_us = asked_us;
  }
  if (!spec.document_id.empty()) entry.claims.insert(spec.document_id);
  if (replace && !remove_replaced) index_[*spec.replaces].claims.erase(spec.document_id);
  return entry.snapshot;
}

absl::Status SnapshotTable::Claim(const SnapshotKey& key, const std::string& document_id) {
  MutexLock mutation(&mutation_mutex_);
  {
    MutexLock lock(&index_mutex_);
    const auto found = index_.find(key);
    if (found == index_.end()) return NoSnapshot();
    if (found->second.claims.contains(document_id)) return absl::OkStatus();
  }
  Batch batch(database_);
  batch.Put(Family::kClaims, ClaimKey(key, document_id), "");
  LONGLEAF_STORE_RETURN_IF_ERROR(database_.Write(batch, Durability::kSynced));
  MutexLock lock(&index_mutex_);
  index_[key].claims.insert(document_id);
  return absl::OkStatus();
}

absl::Status SnapshotTable::Drop(const SnapshotKey& key, DropReason reason) {
  MutexLock mutation(&mutation_mutex_);
  if (!Contains(key)) return absl::OkStatus();
  Batch batch(database_);
  database_.At(WritePoint::kSnapshotDropping);
  LONGLEAF_STORE_RETURN_IF_ERROR(RemoveLocked({key}, reason, batch));
  database_.At(WritePoint::kSnapshotDropped);
  return absl::OkStatus();
}

absl::Status SnapshotTable::WriteReleasing(const DocumentName& document, Batch& batch) {
  MutexLock mutation(&mutation_mutex_);
  std::vector<SnapshotKey> last;    // of these it was the last document
  std::vector<SnapshotKey> shared;  // these go on without it
  {
    MutexLock lock(&index_mutex_);
    for (auto at = index_.lower_bound(SnapshotKey{document.tenant, {}, 0, {}});
         at != index_.end() && at->first.tenant == document.tenant; ++at) {
      if (!at->second.claims.contains(document.id)) continue;
      (at->second.claims.size() == 1 ? last : shared).push_back(at->first);
    }
  }
  for (const SnapshotKey& key : shared) {
    batch.Delete(Family::kClaims, ClaimKey(key, document.id));
  }
  LONGLEAF_STORE_RETURN_IF_ERROR(RemoveLocked(last, DropReason::kDeleted, batch));
  MutexLock lock(&index_mutex_);
  for (const SnapshotKey& key : shared) index_[key].claims.erase(document.id);
  return absl::OkStatus();
}

absl::Status SnapshotTable::RemoveLocked(const std::vector<SnapshotKey>& keys, DropReason reason,
                                         Batch& batch) {
  {
    MutexLock lock(&index_mutex_);
    for (const SnapshotKey& key : keys) {
      const std::string bytes = SnapshotKeyBytes(key);
      batch.Delete(Family::kManifests, bytes);
      batch.Delete(Family::kAsked, bytes);
      for (const std::string& document_id : index_[key].claims) {
        batch.Delete(Family::kClaims, ClaimKey(key, document_id));
      }
    }
  }
  LONGLEAF_STORE_RETURN_IF_ERROR(database_.Write(batch, Durability::kSynced));
  MutexLock lock(&index_mutex_);
  for (const SnapshotKey& key : keys) {
    index_.erase(key);  // its segments go when no reader has them
    ++drops_[reason];
  }
  return absl::OkStatus();
}

}  // namespace longleaf::store::internal
