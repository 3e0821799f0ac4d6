// Manifests as bytes, token digests, and the pinned objects. See snapshot.h and FORMAT.md.
#include "cache_store/snapshot.h"

#include <utility>

#include "cache_store/coding.h"
#include "cache_store/limits.h"
#include "cache_store/message.h"
#include "cache_store/segment_ledger.h"
#include "cache_store/sha256.h"

namespace longleaf::store {
namespace {

using internal::Decoder;
using internal::Encoder;
using internal::Message;
using internal::RecordKind;

constexpr uint8_t kManifestVersion = 1;
constexpr std::string_view kWhat = "manifest";

absl::Status CheckSegment(const SegmentInfo& segment) {
  if (segment.id <= 0 || segment.first_token < 0 || segment.last_token < segment.first_token ||
      segment.bytes < 0 || segment.stored_bytes < 0) {
    return absl::InvalidArgumentError("segment id, span or length outside its limits");
  }
  if (segment.value_bytes < kMinValueBytes || segment.value_bytes > kMaxValueBytes) {
    return absl::InvalidArgumentError("segment value length outside its limits");
  }
  const int64_t full = segment.bytes / segment.value_bytes;
  const int64_t values = full + (segment.bytes % segment.value_bytes == 0 ? 0 : 1);
  if (segment.value_count() != values) {
    return absl::InvalidArgumentError(Message("segment of ", segment.bytes, " bytes has ",
                                              segment.value_count(), " values, not ", values));
  }
  return absl::OkStatus();
}

absl::Status CheckManifest(const Manifest& manifest) {
  const SnapshotKey& key = manifest.key;
  if (key.tenant.empty() || key.tenant.size() > kMaxTenantBytes || key.token_count < 0 ||
      manifest.meta.size() > kMaxMetaBytes) {
    return absl::InvalidArgumentError("tenant, token count or meta outside its limits");
  }
  if (manifest.segments.empty() || manifest.segments.size() > kMaxSegments) {
    return absl::InvalidArgumentError("a snapshot has one tail at least");
  }
  int64_t next = 0;
  for (size_t i = 0; i < manifest.segments.size(); ++i) {
    const SegmentInfo& segment = manifest.segments[i];
    LONGLEAF_STORE_RETURN_IF_ERROR(CheckSegment(segment));
    const bool last = i + 1 == manifest.segments.size();
    if ((segment.kind == SegmentKind::kTail) != last) {
      return absl::InvalidArgumentError("the tail, and only the tail, comes last");
    }
    if (last) break;
    if (segment.first_token != next) {
      return absl::InvalidArgumentError(Message("core segments leave a gap: token ", next,
                                                " is followed by ", segment.first_token));
    }
    next = segment.last_token;
  }
  if (next > key.token_count || manifest.segments.back().last_token != key.token_count) {
    return absl::InvalidArgumentError("segments do not end where the snapshot does");
  }
  return absl::OkStatus();
}

SegmentInfo DecodeSegment(Decoder& in) {
  SegmentInfo segment;
  segment.id = in.NonNegative();
  const uint8_t kind = in.U8();
  if (kind != static_cast<uint8_t>(SegmentKind::kCore) &&
      kind != static_cast<uint8_t>(SegmentKind::kTail)) {
    in.Fail();
  }
  segment.kind = static_cast<SegmentKind>(kind);
  segment.first_token = in.NonNegative();
  segment.last_token = in.NonNegative();
  segment.bytes = in.NonNegative();
  segment.stored_bytes = in.NonNegative();
  segment.value_bytes = in.I32();
  const uint32_t values = in.U32();
  // Compared before it is believed: a false count must not allocate.
  if (values > in.remaining() / sizeof(uint64_t)) in.Fail();
  if (!in.ok()) return segment;
  segment.value_xxh3.reserve(values);
  for (uint32_t i = 0; i < values; ++i) segment.value_xxh3.push_back(in.U64());
  return segment;
}

}  // namespace

Digest DigestTokens(absl::Span<const int32_t> tokens) {
  internal::Sha256 digest;
  digest.UpdateTokens(tokens);
  return digest.Value();
}

int64_t SegmentInfo::value_length(int64_t index) const {
  if (index < 0 || index >= value_count()) return 0;
  if (index + 1 < value_count()) return value_bytes;
  return bytes - index * value_bytes;
}

absl::StatusOr<std::string> EncodeManifest(const Manifest& manifest) {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckManifest(manifest));
  Encoder out(RecordKind::kManifest, kManifestVersion);
  out.String(manifest.key.tenant);
  out.Sha(manifest.key.fingerprint);
  out.I64(manifest.key.token_count);
  out.Sha(manifest.key.digest);
  out.String(manifest.meta);
  out.U32(static_cast<uint32_t>(manifest.segments.size()));
  for (const SegmentInfo& segment : manifest.segments) {
    out.I64(segment.id);
    out.U8(static_cast<uint8_t>(segment.kind));
    out.I64(segment.first_token);
    out.I64(segment.last_token);
    out.I64(segment.bytes);
    out.I64(segment.stored_bytes);
    out.I32(segment.value_bytes);
    out.U32(static_cast<uint32_t>(segment.value_count()));
    for (const uint64_t xxh3 : segment.value_xxh3) out.U64(xxh3);
  }
  return out.Seal();
}

absl::StatusOr<Manifest> DecodeManifest(std::string_view bytes) {
  absl::StatusOr<Decoder> opened =
      Decoder::Open(bytes, RecordKind::kManifest, kManifestVersion, kWhat);
  if (!opened.ok()) return opened.status();
  Decoder& in = *opened;
  Manifest manifest;
  manifest.key.tenant = in.String(kMaxTenantBytes);
  manifest.key.fingerprint = in.Sha();
  manifest.key.token_count = in.NonNegative();
  manifest.key.digest = in.Sha();
  manifest.meta = in.String(kMaxMetaBytes);
  const uint32_t segments = in.U32();
  if (segments > kMaxSegments) in.Fail();
  for (uint32_t i = 0; i < segments && in.ok(); ++i) {
    manifest.segments.push_back(DecodeSegment(in));
  }
  LONGLEAF_STORE_RETURN_IF_ERROR(in.Finish(kWhat));
  if (absl::Status status = CheckManifest(manifest); !status.ok()) {
    return absl::DataLossError(Message(kWhat, ": ", status.message()));
  }
  return manifest;
}

Segment::Segment(std::string tenant, SegmentInfo info,
                 std::shared_ptr<internal::SegmentLedger> ledger)
    : tenant_(std::move(tenant)), info_(std::move(info)), ledger_(std::move(ledger)) {}

Segment::~Segment() { ledger_->Doom({info_.id, info_.stored_bytes}); }

Snapshot::Snapshot(SnapshotKey key, std::vector<SegmentPtr> segments, std::string meta)
    : key_(std::move(key)), segments_(std::move(segments)), meta_(std::move(meta)) {
  for (const SegmentPtr& segment : segments_) bytes_ += segment->info().bytes;
}

absl::Span<const SegmentPtr> Snapshot::cores() const {
  return absl::MakeConstSpan(segments_).subspan(0, segments_.size() - 1);
}

}  // namespace longleaf::store
