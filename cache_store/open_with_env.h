// Opening a store on another rocksdb::Env: the seam where tests put a file system that loses
// unsynced writes, runs full or fails. Not for production code, and the only header that shows
// RocksDB.
#ifndef LONGLEAF_CACHE_STORE_OPEN_WITH_ENV_H_
#define LONGLEAF_CACHE_STORE_OPEN_WITH_ENV_H_

#include <rocksdb/env.h>

#include <memory>

#include "absl/status/statusor.h"
#include "cache_store/store.h"

namespace longleaf::store {

// As Store::Open. `env` must outlive the store; null: the usual one.
absl::StatusOr<std::unique_ptr<Store>> OpenWithEnv(const StoreOptions& options, rocksdb::Env* env);

}  // namespace longleaf::store

#endif  // LONGLEAF_CACHE_STORE_OPEN_WITH_ENV_H_
