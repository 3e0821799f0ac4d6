// The keys of every column family, made and taken apart (FORMAT.md, "Keys").
//
// Integers in keys are big-endian, so that bytes order as numbers do. Tenants carry a length byte,
// so that no tenant's keys can run into another's.
#ifndef LONGLEAF_CACHE_STORE_KEYS_H_
#define LONGLEAF_CACHE_STORE_KEYS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "cache_store/snapshot.h"
#include "cache_store/store.h"

namespace longleaf::store::internal {

// INVALID_ARGUMENT unless the length is within limits.h.
absl::Status CheckTenant(std::string_view tenant);
absl::Status CheckName(std::string_view tenant, std::string_view id);

std::string TenantPrefix(std::string_view tenant);
std::string NameKey(std::string_view tenant, std::string_view id);     // documents, requests
std::string NamePrefix(std::string_view tenant, std::string_view id);  // text, tokens, claims
std::string OffsetKey(std::string_view name_prefix, int64_t offset);   // text, tokens
std::string OffsetEnd(std::string_view name_prefix);                   // after every OffsetKey
std::string SnapshotKeyBytes(const SnapshotKey& key);                  // manifests, asked
std::string ClaimKey(const SnapshotKey& key, std::string_view document_id);
std::string SegmentPrefix(int64_t segment_id);
std::string SegmentValueKey(int64_t segment_id, std::string_view tenant, int64_t index);

// The first key after every key that begins with `prefix`; empty: there is none.
std::string PrefixEnd(std::string_view prefix);

// False: not such a key.
bool ParseNameKey(std::string_view key, DocumentName* name);
bool ParseOffset(std::string_view key, std::string_view name_prefix, int64_t* offset);
bool ParseSnapshotKey(std::string_view key, SnapshotKey* snapshot);
bool ParseClaimKey(std::string_view key, SnapshotKey* snapshot, std::string* document_id);
bool ParseSegmentId(std::string_view key, int64_t* segment_id);
bool ParseChunkKey(std::string_view key, DocumentName* name, int64_t* offset);  // text, tokens
bool ParseSegmentValueKey(std::string_view key, int64_t* segment_id, std::string* tenant,
                          int64_t* index);

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_KEYS_H_
