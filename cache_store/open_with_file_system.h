// Opening a store on another rocksdb::FileSystem: the seam where tests put one that loses unsynced
// writes, runs full or fails. Not for production code, and the only public header with RocksDB in
// it.
#ifndef LONGLEAF_CACHE_STORE_OPEN_WITH_FILE_SYSTEM_H_
#define LONGLEAF_CACHE_STORE_OPEN_WITH_FILE_SYSTEM_H_

#include <rocksdb/file_system.h>

#include <memory>

#include "absl/status/statusor.h"
#include "cache_store/store.h"

namespace longleaf::store {

// As Store::Open. Null: the usual file system.
absl::StatusOr<std::unique_ptr<Store>> OpenWithFileSystem(
    const StoreOptions& options, std::shared_ptr<rocksdb::FileSystem> file_system);

}  // namespace longleaf::store

#endif  // LONGLEAF_CACHE_STORE_OPEN_WITH_FILE_SYSTEM_H_
