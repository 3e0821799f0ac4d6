// What RocksDB does not tell apart at the end of its logs (the write-ahead log and the MANIFEST
// have one format): a record that a crash cut short, and one whose length a disk changed. It takes
// both for the end, and in the second case drops whatever follows without a word.
#ifndef LONGLEAF_CACHE_STORE_LOG_TAIL_H_
#define LONGLEAF_CACHE_STORE_LOG_TAIL_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace longleaf::store::internal {

inline constexpr size_t kLogBlockBytes = 32 << 10;  // records never cross a multiple of it

// Whether the last block of a log (what follows its last multiple of kLogBlockBytes) is damaged
// rather than torn: the record at which reading ends is whole under another length, or another
// whole record comes after it.
bool IsDamagedTail(std::string_view block);

// The sequence number of the first write in a write-ahead log that begins with `begin`, which holds
// its first block; 0: there is none, or it is damaged.
uint64_t FirstSequence(std::string_view begin);

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_LOG_TAIL_H_
