#include "cache_store/log_tail.h"

#include <array>
#include <cstdint>

#include "cache_store/coding.h"

namespace longleaf::store::internal {
namespace {

// A record: masked CRC-32C (u32) of type and payload, length of the payload (u16), type (u8).
constexpr size_t kHeaderBytes = 7;
constexpr uint8_t kLastType = 4;  // whole, first, middle, last; the others are for reused files

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  std::array<uint32_t, 256> table = {};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
    table[i] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = MakeCrcTable();

uint32_t MaskedCrc(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc = kCrcTable[(crc ^ static_cast<uint8_t>(byte)) & 0xff] ^ (crc >> 8);
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

struct Header {
  uint32_t crc;
  size_t length;
  uint8_t type;
};

// Requires kHeaderBytes.
Header ReadHeader(std::string_view bytes) {
  Decoder in(bytes);
  return {in.U32(), in.U16(), in.U8()};
}

// Whether `bytes` begin with a record of `length` bytes of payload.
bool IsRecord(std::string_view bytes, const Header& header, size_t length) {
  return header.type >= 1 && header.type <= kLastType && bytes.size() >= kHeaderBytes + length &&
         MaskedCrc(bytes.substr(kHeaderBytes - 1, length + 1)) == header.crc;
}

}  // namespace

bool IsDamagedTail(std::string_view block) {
  // As RocksDB reads, up to a record that goes beyond the end.
  while (true) {
    if (block.size() < kHeaderBytes) return false;
    const Header header = ReadHeader(block);
    if (header.type == 0 && header.length == 0) return false;  // space that was never written
    if (header.length > block.size() - kHeaderBytes) break;
    if (!IsRecord(block, header, header.length)) return true;
    block.remove_prefix(kHeaderBytes + header.length);
  }
  if (IsRecord(block, ReadHeader(block), block.size() - kHeaderBytes)) return true;
  for (block.remove_prefix(1); block.size() >= kHeaderBytes; block.remove_prefix(1)) {
    const Header header = ReadHeader(block);
    if (IsRecord(block, header, header.length)) return true;
  }
  return false;
}

uint64_t FirstSequence(std::string_view begin) {
  if (begin.size() < kHeaderBytes + sizeof(uint64_t)) return 0;
  const Header header = ReadHeader(begin);
  if (header.length < sizeof(uint64_t) || !IsRecord(begin, header, header.length)) return 0;
  return Decoder(begin.substr(kHeaderBytes)).U64();  // every record begins with it
}

}  // namespace longleaf::store::internal
