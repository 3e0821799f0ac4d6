// Limits of what the store accepts, each stated once. FORMAT.md repeats those that readers rely on.
#ifndef LONGLEAF_CACHE_STORE_LIMITS_H_
#define LONGLEAF_CACHE_STORE_LIMITS_H_

#include <cstddef>
#include <cstdint>

namespace longleaf::store {

inline constexpr size_t kMaxTenantBytes = 128;
inline constexpr size_t kMaxIdBytes = 255;  // document and request ids: one length byte in keys
inline constexpr size_t kMaxDisplayNameBytes = 4096;
inline constexpr size_t kMaxLabels = 256;
inline constexpr size_t kMaxLabelBytes = 64 << 10;  // names and values together
inline constexpr size_t kMaxFailureBytes = 64 << 10;
inline constexpr size_t kMaxMetaBytes = 64 << 10;
inline constexpr size_t kMaxSegments = 1 << 20;              // of one manifest
inline constexpr int64_t kMaxCallBytes = int64_t{64} << 20;  // one append, one read
inline constexpr int32_t kMaxTokensPerChunk = 1 << 16;
inline constexpr int32_t kMinValueBytes = 4 << 10;
inline constexpr int32_t kMaxValueBytes = 16 << 20;
inline constexpr int32_t kMinTextChunkBytes = 1 << 10;

}  // namespace longleaf::store

#endif  // LONGLEAF_CACHE_STORE_LIMITS_H_
