// See keys.h.
#include "cache_store/keys.h"

#include <algorithm>

#include "cache_store/limits.h"
#include "cache_store/message.h"

namespace longleaf::store::internal {
namespace {

constexpr size_t kSnapshotTail = 32 + 8 + 32;  // fingerprint, token count, digest

void AppendShort(std::string& key, std::string_view value) {
  key.push_back(static_cast<char>(value.size()));
  key.append(value);
}

template <typename T>
void AppendBig(std::string& key, T value) {
  for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8) {
    key.push_back(static_cast<char>(value >> shift));
  }
}

void AppendSnapshotTail(std::string& bytes, const SnapshotKey& key) {
  bytes.append(reinterpret_cast<const char*>(key.fingerprint.data()), key.fingerprint.size());
  AppendBig(bytes, static_cast<uint64_t>(key.token_count));
  bytes.append(reinterpret_cast<const char*>(key.digest.data()), key.digest.size());
}

bool TakeShort(std::string_view& rest, std::string* value) {
  if (rest.empty()) return false;
  const size_t length = static_cast<uint8_t>(rest[0]);
  if (length == 0 || rest.size() < 1 + length) return false;
  *value = rest.substr(1, length);
  rest.remove_prefix(1 + length);
  return true;
}

bool TakeBig64(std::string_view& rest, int64_t* value) {
  if (rest.size() < 8) return false;
  uint64_t bits = 0;
  for (size_t i = 0; i < 8; ++i) bits = (bits << 8) | static_cast<uint8_t>(rest[i]);
  rest.remove_prefix(8);
  *value = static_cast<int64_t>(bits);
  return *value >= 0;
}

void TakeDigest(std::string_view& rest, Digest* digest) {
  std::copy_n(rest.begin(), digest->size(), reinterpret_cast<char*>(digest->data()));
  rest.remove_prefix(digest->size());
}

bool TakeSnapshotTail(std::string_view rest, SnapshotKey* key) {
  if (rest.size() != kSnapshotTail) return false;
  TakeDigest(rest, &key->fingerprint);
  if (!TakeBig64(rest, &key->token_count)) return false;
  TakeDigest(rest, &key->digest);
  return true;
}

}  // namespace

absl::Status CheckTenant(std::string_view tenant) {
  if (!tenant.empty() && tenant.size() <= kMaxTenantBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      Message("tenant has ", tenant.size(), " bytes, not 1 to ", kMaxTenantBytes));
}

absl::Status CheckName(std::string_view tenant, std::string_view id) {
  if (absl::Status status = CheckTenant(tenant); !status.ok()) return status;
  if (!id.empty() && id.size() <= kMaxIdBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      Message("id has ", id.size(), " bytes, not 1 to ", kMaxIdBytes));
}

std::string TenantPrefix(std::string_view tenant) {
  std::string key;
  AppendShort(key, tenant);
  return key;
}

std::string NameKey(std::string_view tenant, std::string_view id) {
  std::string key = TenantPrefix(tenant);
  key.append(id);  // no length byte: documents list in the order of their ids
  return key;
}

std::string NamePrefix(std::string_view tenant, std::string_view id) {
  std::string key = TenantPrefix(tenant);
  AppendShort(key, id);
  return key;
}

std::string OffsetKey(std::string_view name_prefix, int64_t offset) {
  std::string key(name_prefix);
  AppendBig(key, static_cast<uint64_t>(offset));
  return key;
}

std::string OffsetEnd(std::string_view name_prefix) {
  return std::string(name_prefix) + std::string(8, '\xff');  // offsets are below 2^63
}

std::string SnapshotKeyBytes(const SnapshotKey& key) {
  std::string bytes = TenantPrefix(key.tenant);
  AppendSnapshotTail(bytes, key);
  return bytes;
}

std::string ClaimKey(const SnapshotKey& key, std::string_view document_id) {
  std::string bytes = NamePrefix(key.tenant, document_id);
  AppendSnapshotTail(bytes, key);
  return bytes;
}

std::string SegmentPrefix(int64_t segment_id) {
  std::string key;
  AppendBig(key, static_cast<uint64_t>(segment_id));
  return key;
}

std::string SegmentValueKey(int64_t segment_id, std::string_view tenant, int64_t index) {
  std::string key = SegmentPrefix(segment_id);
  AppendShort(key, tenant);
  AppendBig(key, static_cast<uint32_t>(index));
  return key;
}

std::string PrefixEnd(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(end.back() + 1);
  return end;
}

bool ParseNameKey(std::string_view key, DocumentName* name) {
  if (!TakeShort(key, &name->tenant) || key.empty()) return false;
  name->id = key;
  return true;
}

bool ParseOffset(std::string_view key, std::string_view name_prefix, int64_t* offset) {
  if (key.substr(0, name_prefix.size()) != name_prefix) return false;
  key.remove_prefix(name_prefix.size());
  return TakeBig64(key, offset) && key.empty();
}

bool ParseSnapshotKey(std::string_view key, SnapshotKey* snapshot) {
  return TakeShort(key, &snapshot->tenant) && TakeSnapshotTail(key, snapshot);
}

bool ParseClaimKey(std::string_view key, SnapshotKey* snapshot, std::string* document_id) {
  return TakeShort(key, &snapshot->tenant) && TakeShort(key, document_id) &&
         TakeSnapshotTail(key, snapshot);
}

bool ParseSegmentId(std::string_view key, int64_t* segment_id) {
  return TakeBig64(key, segment_id);
}

bool ParseChunkKey(std::string_view key, DocumentName* name, int64_t* offset) {
  return TakeShort(key, &name->tenant) && TakeShort(key, &name->id) && TakeBig64(key, offset) &&
         key.empty();
}

bool ParseSegmentValueKey(std::string_view key, int64_t* segment_id, std::string* tenant,
                          int64_t* index) {
  if (!TakeBig64(key, segment_id) || !TakeShort(key, tenant) || key.size() != 4) return false;
  *index = 0;
  for (const char byte : key) *index = (*index << 8) | static_cast<uint8_t>(byte);
  return true;
}

}  // namespace longleaf::store::internal
