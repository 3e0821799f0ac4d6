// A torn end of a log is told from a damaged one.
#include "cache_store/log_tail.h"

#include <gtest/gtest.h>

#include <string>

#include "cache_store/coding.h"

namespace longleaf::store::internal {
namespace {

// One whole record as RocksDB writes it (damaged_files_test.cc has real logs).
std::string Record(std::string_view payload) {
  uint32_t crc = ~0u;
  const auto add = [&crc](uint8_t byte) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
  };
  add(1);
  for (const char c : payload) add(static_cast<uint8_t>(c));
  crc = ~crc;
  Encoder out(RecordKind::kSchema, 0);
  out.U32(((crc >> 15) | (crc << 17)) + 0xa282ead8u);
  out.U16(static_cast<uint16_t>(payload.size()));
  out.U8(1);
  out.Raw(payload);
  return out.Take().substr(2);
}

const std::string kThree = Record("first") + Record("second one") + Record(std::string(300, 'x'));

TEST(LogTailTest, WhatACrashLeavesIsNoDamage) {
  for (size_t length = 0; length <= kThree.size(); ++length) {
    EXPECT_FALSE(IsDamagedTail(kThree.substr(0, length))) << length;
  }
  EXPECT_FALSE(IsDamagedTail(kThree + std::string(1000, '\0')));  // room that was never written
}

TEST(LogTailTest, EveryChangedByteIsDamage) {
  for (size_t at = 0; at < kThree.size(); ++at) {
    for (const int bit : {1, 0x10, 0x80}) {
      std::string bytes = kThree;
      bytes[at] = static_cast<char>(bytes[at] ^ bit);
      EXPECT_TRUE(IsDamagedTail(bytes)) << at;
    }
  }
}

}  // namespace
}  // namespace longleaf::store::internal
