// Any bytes as the head of a file of packed weights, as they are and with a checksum that fits.
#include <xxhash.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "model/packed_weights.h"

namespace {

using longleaf::model::PackedWeightsHead;

// Nothing that is accepted lies outside the file, and it means what it says.
void Parse(const std::string& bytes, int64_t file_bytes) {
  const auto head = PackedWeightsHead::Parse(
      {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, file_bytes, "fuzz");
  if (!head.ok()) return;
  for (const auto& item : head->items) {
    if (item.offset < 0 || item.bytes < 1 || item.offset > file_bytes - item.bytes) {
      __builtin_trap();
    }
  }
  const std::string again = head->Encode();
  if (bytes.compare(0, again.size(), again) != 0) __builtin_trap();
  PackedWeightsHead laid_out = *head;
  if (!laid_out.LayOut().ok() || laid_out.Encode() != again) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  Parse(bytes, static_cast<int64_t>(size));
  if (size < 64) return 0;
  int64_t file_bytes = 0;
  std::memcpy(&file_bytes, data + 16, sizeof(file_bytes));
  Parse(bytes, file_bytes);
  const uint32_t head_bytes = static_cast<uint32_t>(size);
  std::memcpy(bytes.data() + 12, &head_bytes, sizeof(head_bytes));
  const uint64_t checksum = XXH3_64bits(bytes.data(), size - 8);
  std::memcpy(bytes.data() + size - 8, &checksum, sizeof(checksum));
  Parse(bytes, file_bytes);
  return 0;
}
