// Whatever bytes the store finds on its disk: decoding must return, and what it accepts must encode
// back to the same bytes, or mean the same in the newest version. The first byte picks the decoder;
// the checksum is made right, because otherwise nothing behind it would ever be reached.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cache_store/asked.h"
#include "cache_store/chunks.h"
#include "cache_store/coding.h"
#include "cache_store/keys.h"
#include "cache_store/record.h"
#include "cache_store/snapshot.h"

namespace longleaf::store {
namespace {

std::string WithChecksum(std::string_view bytes) {
  std::string sealed(bytes);
  const uint64_t xxh3 = internal::Xxh3(bytes);
  for (int shift = 0; shift < 64; shift += 8) sealed.push_back(static_cast<char>(xxh3 >> shift));
  return sealed;
}

void Require(bool condition) {
  if (!condition) __builtin_trap();
}

void Decode(uint8_t which, std::string_view bytes) {
  switch (which % 7) {
    case 0:
      if (const auto record = DecodeDocument(bytes); record.ok()) {
        const std::string again = *EncodeDocument(*record);
        // An older version is written back as the newest.
        Require(again == bytes || (again[1] != bytes[1] && *DecodeDocument(again) == *record));
      }
      break;
    case 1:
      if (const auto record = DecodeRequest(bytes); record.ok()) {
        Require(*EncodeRequest(*record) == bytes);
      }
      break;
    case 2:
      if (const auto manifest = DecodeManifest(bytes); manifest.ok()) {
        Require(*EncodeManifest(*manifest) == bytes);
        for (const SegmentInfo& segment : manifest->segments) {
          int64_t sum = 0;
          for (int64_t i = 0; i < segment.value_count(); ++i) sum += segment.value_length(i);
          Require(sum == segment.bytes);
        }
      }
      break;
    case 3:
      (void)internal::DecodeTextChunk(bytes, 1, 0);
      break;
    case 4:
      (void)internal::DecodeTokenChunk(bytes, 1, 0);
      break;
    case 5:
      (void)internal::DecodeAsked(bytes);
      break;
    case 6: {
      SnapshotKey key;
      DocumentName name;
      std::string id;
      int64_t number = 0;
      if (internal::ParseSnapshotKey(bytes, &key)) {
        Require(internal::SnapshotKeyBytes(key) == bytes);
      }
      if (internal::ParseClaimKey(bytes, &key, &id)) {
        Require(internal::ClaimKey(key, id) == bytes);
      }
      if (internal::ParseNameKey(bytes, &name)) {
        Require(internal::NameKey(name.tenant, name.id) == bytes);
      }
      (void)internal::ParseSegmentId(bytes, &number);
      break;
    }
  }
}

}  // namespace
}  // namespace longleaf::store

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  longleaf::store::Decode(data[0], bytes);
  longleaf::store::Decode(data[0], longleaf::store::WithChecksum(bytes));
  return 0;
}
