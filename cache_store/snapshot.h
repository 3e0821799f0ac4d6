// The words for stored state: snapshot keys, segments, manifests, and their canonical bytes.
//
// A snapshot is an ordered list of immutable segments (core segments, then exactly one tail) plus a
// few opaque bytes of the model's codec. Nothing here reads or writes; store.h does.
#ifndef LONGLEAF_CACHE_STORE_SNAPSHOT_H_
#define LONGLEAF_CACHE_STORE_SNAPSHOT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cache_store/record.h"

namespace longleaf::store {

// The address of a snapshot: whose, valid for what, after which tokens.
struct SnapshotKey {
  std::string tenant;       // 1..128 bytes
  Digest fingerprint = {};  // weights, tokenizer, config, preamble, policy, dtype, format
  int64_t token_count = 0;
  Digest digest = {};  // DigestTokens of the token_count ids

  auto operator<=>(const SnapshotKey&) const = default;
};

// SHA-256 of the ids, each as a little-endian int32.
Digest DigestTokens(absl::Span<const int32_t> tokens);  // tokens: [n]

// Numbers are on disk: never renumbered, never reused.
enum class SegmentKind : uint8_t {
  kCore = 1,  // core tokens of complete groups, all layers
  kTail = 2,  // the raw tail
};

// What a manifest says of one segment. The segment's bytes lie in value_count() values of
// `value_bytes` each, the last one shorter.
struct SegmentInfo {
  int64_t id = 0;  // from a durable counter, never reused
  SegmentKind kind = SegmentKind::kCore;
  int64_t first_token = 0;  // the span of tokens [first_token, last_token) it stands for
  int64_t last_token = 0;
  int64_t bytes = 0;                 // payload, without headers
  int64_t stored_bytes = 0;          // what it takes on disk, headers and index included
  int32_t value_bytes = 0;           // payload of every value but the last
  std::vector<uint64_t> value_xxh3;  // [value_count] 64-bit XXH3 (seed 0) of each value's payload

  int64_t value_count() const { return static_cast<int64_t>(value_xxh3.size()); }
  // Payload length of value `index`; 0 outside [0, value_count()).
  int64_t value_length(int64_t index) const;

  bool operator==(const SegmentInfo&) const = default;
};

// Everything a snapshot is. `segments` holds the core segments in token order and then one tail.
struct Manifest {
  SnapshotKey key;
  std::vector<SegmentInfo> segments;
  std::string meta;  // opaque: policy, layout and dtype as the model's codec writes them; <= 64 KiB

  bool operator==(const Manifest&) const = default;
};

// Canonical bytes, as record.h's. Encoding also refuses (INVALID_ARGUMENT) a manifest whose
// segments are out of order, whose tail is missing or doubled, or whose lengths do not agree.
absl::StatusOr<std::string> EncodeManifest(const Manifest& manifest);
absl::StatusOr<Manifest> DecodeManifest(std::string_view bytes);

namespace internal {
class SegmentLedger;
}

// One finished segment, pinned: while any SegmentPtr to it lives its bytes stay on disk. When the
// last one goes and no stored manifest lists it, the store deletes it. Immutable, thread-safe.
class Segment {
 public:
  Segment(std::string tenant, SegmentInfo info, std::shared_ptr<internal::SegmentLedger> ledger);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  const SegmentInfo& info() const { return info_; }
  const std::string& tenant() const { return tenant_; }
  // Whether the store with this ledger has it.
  bool BelongsTo(const internal::SegmentLedger* ledger) const { return ledger_.get() == ledger; }

 private:
  const std::string tenant_;
  const SegmentInfo info_;
  const std::shared_ptr<internal::SegmentLedger> ledger_;
};
using SegmentPtr = std::shared_ptr<const Segment>;

// A stored snapshot, pinned against deletion for as long as the pointer to it lives; it may outlive
// the Store, but then nothing can be read of it. Immutable, thread-safe.
class Snapshot {
 public:
  Snapshot(SnapshotKey key, std::vector<SegmentPtr> segments, std::string meta);

  const SnapshotKey& key() const { return key_; }
  const std::string& meta() const { return meta_; }
  int64_t token_count() const { return key_.token_count; }
  int64_t bytes() const { return bytes_; }  // payload of all segments

  // Core segments in token order, then the tail: size() >= 1, back() is the tail.
  const std::vector<SegmentPtr>& segments() const { return segments_; }
  absl::Span<const SegmentPtr> cores() const;
  const SegmentPtr& tail() const { return segments_.back(); }

 private:
  const SnapshotKey key_;
  const std::vector<SegmentPtr> segments_;
  const std::string meta_;
  int64_t bytes_ = 0;
};
using SnapshotPtr = std::shared_ptr<const Snapshot>;

}  // namespace longleaf::store

#endif  // LONGLEAF_CACHE_STORE_SNAPSHOT_H_
