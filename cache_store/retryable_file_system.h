// A file system whose write errors RocksDB recovers from by itself.
//
// RocksDB 7.8 sorts errors of writing by kind. A full disk goes to a recovery that leaves the
// database unable to ingest files (ErrorHandler never clears its "stopped" flag on that way, and
// Debian's library then fails an assertion); an input/output error is taken as the end. Only errors
// marked retryable are retried, about every quarter second, and cleared completely. That is right
// for all of them here: what is acknowledged was synced and is in the memtables too, and the
// recovery writes these to new files whole. So every error of writing is passed on as a retryable
// one, with its meaning kept in the message.
#ifndef LONGLEAF_CACHE_STORE_RETRYABLE_FILE_SYSTEM_H_
#define LONGLEAF_CACHE_STORE_RETRYABLE_FILE_SYSTEM_H_

#include <rocksdb/file_system.h>

#include <memory>
#include <string_view>

namespace longleaf::store::internal {

class DiskHealth;

// `health` says when to pause, and whether the database is abandoned: nothing reaches the disk
// then.
std::shared_ptr<rocksdb::FileSystem> MakeRetryable(std::shared_ptr<rocksdb::FileSystem> target,
                                                   std::shared_ptr<DiskHealth> health);

// Whether the message of a status began as "no space" below.
bool MeansNoSpace(std::string_view message);

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_RETRYABLE_FILE_SYSTEM_H_
