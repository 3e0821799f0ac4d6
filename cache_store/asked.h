// The record of when a snapshot was last asked for.
#ifndef LONGLEAF_CACHE_STORE_ASKED_H_
#define LONGLEAF_CACHE_STORE_ASKED_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "cache_store/coding.h"

namespace longleaf::store::internal {

inline constexpr uint8_t kAskedVersion = 1;

inline std::string EncodeAsked(int64_t time_us) {
  Encoder out(RecordKind::kAsked, kAskedVersion);
  out.I64(time_us);
  return out.Seal();
}

inline std::optional<int64_t> DecodeAsked(std::string_view bytes) {
  absl::StatusOr<Decoder> in =
      Decoder::Open(bytes, RecordKind::kAsked, kAskedVersion, "asked record");
  if (!in.ok()) return std::nullopt;
  const int64_t time_us = in->NonNegative();
  if (!in->Finish("asked record").ok()) return std::nullopt;
  return time_us;
}

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_ASKED_H_
