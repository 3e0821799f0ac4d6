// Checking every byte of a store that nobody has open, without changing anything in it.
//
// What a running store finds only when it comes across it is looked for here: the checksums of
// every file, every row against its key and its frame, and every row against the others (FORMAT.md,
// "What belongs together").
#ifndef LONGLEAF_CACHE_STORE_VERIFY_H_
#define LONGLEAF_CACHE_STORE_VERIFY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cache_store/snapshot.h"

namespace longleaf::store {

enum class Severity {
  kDamage,  // bytes are not what was written
  kOrphan,  // belongs to nothing: left by a crash, and never looked at
};

struct VerifyFinding {
  Severity severity = Severity::kDamage;
  std::string where;  // "documents, document a of tenant t"
  std::string what;   // in a line
};

// One column family, or "files" and "log".
struct VerifyCount {
  std::string name;
  int64_t rows = 0;
  int64_t bytes = 0;  // keys and values; sizes of files
};

struct VerifyReport {
  static constexpr size_t kMaxFindings = 1000;

  std::vector<VerifyCount> counts;
  int64_t documents = 0;                // whose record is good
  int64_t snapshots = 0;                // whose manifest is good
  std::vector<VerifyFinding> findings;  // the first kMaxFindings
  int64_t damage = 0;                   // all of them
  int64_t orphans = 0;
};

struct VerifyOptions {
  std::string path;
  // Called with every good manifest; an error is damage. Empty: its meta is not looked into.
  std::function<absl::Status(const Manifest&)> check_manifest;
};

// Reads the whole store, as its server left it or was killed over it. Damage, also such that the
// store cannot be opened for, is in the report. NOT_FOUND: there is no store; UNAVAILABLE: a server
// has it open.
absl::StatusOr<VerifyReport> VerifyStore(const VerifyOptions& options);

}  // namespace longleaf::store

#endif  // LONGLEAF_CACHE_STORE_VERIFY_H_
