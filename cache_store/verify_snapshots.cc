// Manifests, every value of every segment, and what refers to snapshots.
#include <utility>

#include "absl/strings/escaping.h"
#include "cache_store/asked.h"
#include "cache_store/coding.h"
#include "cache_store/keys.h"
#include "cache_store/message.h"
#include "cache_store/segment_value.h"
#include "cache_store/verifier.h"

namespace longleaf::store::internal {
namespace {

constexpr std::string_view kRemoved = "; the next start removes it";

}  // namespace

std::string Describe(const SnapshotKey& key) {
  const std::string digest(reinterpret_cast<const char*>(key.digest.data()), 4);
  return Message("snapshot of ", key.token_count, " tokens, digest ",
                 absl::BytesToHexString(digest), "..., of tenant ", key.tenant);
}

void Verifier::CheckManifests() {
  EachRow(Family::kManifests, [&](std::string_view key, std::string_view value) {
    SnapshotKey snapshot;
    if (!ParseSnapshotKey(key, &snapshot)) {
      Damage("manifests", "a key that is no snapshot's");
      return;
    }
    CheckManifest(snapshot, value);
  });
}

void Verifier::CheckManifest(const SnapshotKey& key, std::string_view bytes) {
  const std::string where = Describe(key);
  const absl::StatusOr<Manifest> manifest = DecodeManifest(bytes);
  if (!manifest.ok()) {
    Damage(where, std::string(manifest.status().message()));
    return;
  }
  if (manifest->key != key) {
    Damage(where, Message("its manifest is of another, ", Describe(manifest->key)));
    return;
  }
  for (const SegmentInfo& info : manifest->segments) {
    last_segment_ = std::max(last_segment_, info.id);
    const auto [listed, is_new] =
        segments_.emplace(info.id, ListedSegment{key.tenant, info, where});
    if (!is_new && (listed->second.info != info || listed->second.tenant != key.tenant)) {
      Damage(where,
             Message("lists segment ", info.id, " otherwise than ", listed->second.manifest));
    }
  }
  if (options_.check_manifest) {
    if (const absl::Status status = options_.check_manifest(*manifest); !status.ok()) {
      Damage(where, std::string(status.message()));
    }
  }
  manifests_.insert(key);
  ++report_.snapshots;
}

void Verifier::CheckSegments() {
  struct Unlisted {
    int64_t rows = 0;
    int64_t bytes = 0;
  };
  std::map<int64_t, Unlisted> unlisted;
  int64_t current = 0;
  EachRow(
      Family::kSegments,
      [&](std::string_view key, std::string_view value) {
        int64_t id = 0;
        int64_t index = 0;
        std::string tenant;
        if (!ParseSegmentValueKey(key, &id, &tenant, &index)) {
          Damage("segments", "a key that is no segment value's");
          return;
        }
        current = std::max(current, id);
        last_segment_ = std::max(last_segment_, id);
        const auto found = segments_.find(id);
        if (found == segments_.end()) {
          unlisted[id].bytes += static_cast<int64_t>(value.size());
          ++unlisted[id].rows;
          return;
        }
        ListedSegment& segment = found->second;
        const std::string where =
            Message("segment ", id, ", value ", index, ", of the ", segment.manifest);
        if (tenant != segment.tenant || index >= segment.info.value_count()) {
          Damage(where, Message("is not listed there, tenant ", tenant));
          return;
        }
        ++segment.values_seen;
        const int64_t length = segment.info.value_length(index);
        const uint64_t xxh3 = segment.info.value_xxh3[static_cast<size_t>(index)];
        if (value.size() != kSegmentValueHeaderBytes + static_cast<size_t>(length)) {
          Damage(where, Message("has ", value.size(), " bytes"));
        } else if (value.substr(0, kSegmentValueHeaderBytes) !=
                   SegmentValueHeader(id, index, length, xxh3)) {
          Damage(where, "is another value, or its header is damaged");
        } else if (Xxh3(value.substr(kSegmentValueHeaderBytes)) != xxh3) {
          Damage(where, "checksum does not agree");
        }
      },
      [&](const std::string&) {
        const auto next = segments_.upper_bound(current);
        if (next == segments_.end()) return std::string();
        current = next->first;
        return SegmentPrefix(current);
      });
  for (const auto& [id, segment] : segments_) {
    if (segment.values_seen != segment.info.value_count()) {
      Damage(Message("segment ", id, " of the ", segment.manifest),
             Message(segment.info.value_count() - segment.values_seen, " of ",
                     segment.info.value_count(), " values are missing or cannot be read"));
    }
  }
  for (const auto& [id, rest] : unlisted) {
    Orphan(Message("segment ", id),
           Message(rest.rows, " values, ", rest.bytes, " bytes, of no snapshot", kRemoved));
  }
}

void Verifier::CheckClaims() {
  EachRow(Family::kClaims, [&](std::string_view key, std::string_view value) {
    SnapshotKey snapshot;
    DocumentName name;
    if (!ParseClaimKey(key, &snapshot, &name.id) || name.id.empty()) {
      Damage("claims", "a key that is no claim's");
      return;
    }
    name.tenant = snapshot.tenant;
    const std::string where = Message("claim of ", Describe(name), " to the ", Describe(snapshot));
    if (!value.empty()) Damage(where, Message("has a value of ", value.size(), " bytes, not none"));
    if (!manifests_.contains(snapshot)) {
      Orphan(where, Message("there is no such snapshot", kRemoved));
    } else if (!documents_.contains(NamePrefix(name.tenant, name.id))) {
      Orphan(where, "there is no such document; the snapshot stays until its space is needed");
    }
  });
}

void Verifier::CheckAsked() {
  EachRow(Family::kAsked, [&](std::string_view key, std::string_view value) {
    SnapshotKey snapshot;
    if (!ParseSnapshotKey(key, &snapshot)) {
      Damage("asked", "a key that is no snapshot's");
      return;
    }
    const std::string where = Message("asked record of the ", Describe(snapshot));
    if (!DecodeAsked(value).has_value()) {
      Damage(where, Message("is damaged; only the order of eviction hangs on it", kRemoved));
    } else if (!manifests_.contains(snapshot)) {
      Orphan(where, Message("there is no such snapshot", kRemoved));
    }
  });
}

}  // namespace longleaf::store::internal
