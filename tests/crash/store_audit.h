// A closed store counted again from its raw rows and files, past the store's own code for opening.
#ifndef LONGLEAF_TESTS_CRASH_STORE_AUDIT_H_
#define LONGLEAF_TESTS_CRASH_STORE_AUDIT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cache_store/store.h"

namespace longleaf::store {

struct StoreAudit {
  std::map<DocumentState, int64_t> documents;
  int64_t text_bytes = 0;
  int64_t token_bytes = 0;
  int64_t snapshot_bytes = 0;  // of segments that manifests list, each once
  int64_t snapshots = 0;
  // What belongs to nothing or lacks something: text without a document, a manifest without its
  // segment, a segment without a manifest, a file in incoming/, ...
  std::vector<std::string> problems;
};

StoreAudit AuditStore(const std::string& path);

// Where the audit and what the store said of itself disagree, and the audit's problems.
std::vector<std::string> Disagreements(const StoreAudit& audit, const StoreStats& stats);

}  // namespace longleaf::store

#endif  // LONGLEAF_TESTS_CRASH_STORE_AUDIT_H_
