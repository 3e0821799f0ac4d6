// The header in front of every segment value's payload (FORMAT.md, "Segment values").
#ifndef LONGLEAF_CACHE_STORE_SEGMENT_VALUE_H_
#define LONGLEAF_CACHE_STORE_SEGMENT_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "cache_store/coding.h"

namespace longleaf::store::internal {

inline constexpr size_t kSegmentValueHeaderBytes = 32;
inline constexpr uint8_t kSegmentValueVersion = 1;

inline std::string SegmentValueHeader(int64_t segment_id, int64_t index, int64_t length,
                                      uint64_t payload_xxh3) {
  Encoder out(RecordKind::kSegmentValue, kSegmentValueVersion);
  out.U16(kSegmentValueHeaderBytes);
  out.U32(static_cast<uint32_t>(length));
  out.I64(segment_id);
  out.U32(static_cast<uint32_t>(index));
  out.U32(0);
  out.U64(payload_xxh3);
  return out.Take();
}

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_SEGMENT_VALUE_H_
