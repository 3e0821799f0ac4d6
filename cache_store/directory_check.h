// What must be right about a store's directory before RocksDB is let near it: with a file missing
// that it goes by, it makes an empty database and deletes the rest.
#ifndef LONGLEAF_CACHE_STORE_DIRECTORY_CHECK_H_
#define LONGLEAF_CACHE_STORE_DIRECTORY_CHECK_H_

#include <rocksdb/env.h>
#include <rocksdb/options.h>

#include <cstdarg>
#include <string>

#include "absl/status/status.h"

namespace longleaf::store::internal {

// RocksDB would write a log file of its own into a directory that is only looked at.
class NoLog : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

// Whether a database was ever in use there: more than the first start leaves when it is cut short.
bool HoldsDatabase(rocksdb::Env& env, const std::string& path);

// DATA_LOSS, with what to do, when a database that was in use has no CURRENT, no MANIFEST where
// CURRENT points, or no write-ahead log, or its MANIFEST is damaged in a way that RocksDB takes for
// its end. OK where there is none.
absl::Status CheckDatabaseFiles(rocksdb::Env& env, const std::string& path);

// The name of a write-ahead log that is damaged in that way; empty: there is none.
std::string FindDamagedLog(rocksdb::Env& env, const std::string& path);

// DATA_LOSS when the write-ahead logs begin after the last write that the MANIFEST knows of: it was
// cut, and files that it does not list any more would be deleted. To be called when
// CheckDatabaseFiles was OK; `empty_dir` holds no log.
absl::Status CheckManifestReachesLog(const rocksdb::Options& options, const std::string& path,
                                     const std::string& empty_dir);

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_DIRECTORY_CHECK_H_
