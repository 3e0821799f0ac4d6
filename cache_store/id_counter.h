// Numbers that are never given out twice, whatever crashes.
#ifndef LONGLEAF_CACHE_STORE_ID_COUNTER_H_
#define LONGLEAF_CACHE_STORE_ID_COUNTER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cache_store/database.h"
#include "cache_store/mutex.h"

namespace longleaf::store::internal {

// What is stored under `name`.
absl::StatusOr<int64_t> DecodeCounter(std::string_view bytes, const std::string& name);

// Counts from 1. The stored number is the first that no one has; a block of numbers is taken with
// one synced write, and what is left of it at the end of the process is skipped. Thread-safe.
class IdCounter {
 public:
  // `name`: its key in the meta family, on disk.
  IdCounter(Database& database, std::string name) : database_(database), name_(std::move(name)) {}
  // `in_use`: the highest number that is met in the store. Where the stored one is damaged, missing
  // or not above it, counting goes on far above, and that is counted.
  absl::Status Load(int64_t in_use);
  absl::StatusOr<int64_t> Next();

 private:
  Database& database_;
  const std::string name_;
  Mutex mutex_;
  int64_t next_ ABSL_GUARDED_BY(mutex_) = 1;
  int64_t limit_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_ID_COUNTER_H_
