// The parts of VerifyStore (verify.h): the database is opened and its files are checked in
// verify.cc, documents with all that hangs on them in verify_documents.cc, snapshots in
// verify_snapshots.cc.
#ifndef LONGLEAF_CACHE_STORE_VERIFIER_H_
#define LONGLEAF_CACHE_STORE_VERIFIER_H_

#include <rocksdb/db.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "cache_store/database.h"
#include "cache_store/record.h"
#include "cache_store/snapshot.h"
#include "cache_store/verify.h"

namespace longleaf::store::internal {

// One run over one store. Not thread-safe.
class Verifier {
 public:
  explicit Verifier(const VerifyOptions& options);
  ~Verifier();
  absl::StatusOr<VerifyReport> Run();

 private:
  struct Document {
    DocumentName name;
    bool good = false;  // the record decodes; otherwise there is only its name
    DocumentRecord record;
    bool requested = false;  // its request entry was seen
  };
  struct ListedSegment {
    std::string tenant;
    SegmentInfo info;
    std::string manifest;  // the first that lists it
    int64_t values_seen = 0;
  };
  // The chunks of one document, as they come.
  struct ChunkRun;

  void Damage(std::string where, std::string what);
  void Orphan(std::string where, std::string what);

  // verify.cc
  absl::Status CheckDirectory();
  bool Open();
  rocksdb::Status OpenOnce(bool skip_damage, const std::vector<std::string>& names);
  void CheckFiles();
  void CheckMeta();
  // Calls `use` with every row. After a stretch that cannot be read it goes on at `resume(last)`, a
  // key beyond `last`, the last key that could be; an empty one ends it.
  void EachRow(Family family, absl::FunctionRef<void(std::string_view, std::string_view)> use,
               absl::FunctionRef<std::string(const std::string&)> resume);
  void EachRow(Family family, absl::FunctionRef<void(std::string_view, std::string_view)> use) {
    EachRow(family, use, [](const std::string&) { return std::string(); });
  }

  // verify_documents.cc
  void CheckDocuments();
  void CheckRequests();
  void CheckChunks(Family family);
  void FinishChunks(Family family, const ChunkRun& run);

  // verify_snapshots.cc
  void CheckManifests();
  void CheckManifest(const SnapshotKey& key, std::string_view bytes);
  void CheckSegments();
  void CheckClaims();
  void CheckAsked();

  const VerifyOptions options_;
  const std::unique_ptr<rocksdb::Env> env_;
  rocksdb::FileLock* lock_ = nullptr;
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilyCount> families_ = {};
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::array<VerifyCount, kFamilyCount> counts_;
  VerifyCount files_;
  VerifyCount log_;
  VerifyReport report_;

  std::map<std::string, Document> documents_;  // by NamePrefix: the order of text and tokens
  std::set<SnapshotKey> manifests_;
  std::map<int64_t, ListedSegment> segments_;
  int64_t last_serial_ = 0;
  int64_t last_segment_ = 0;
};

// For messages: "document a of tenant t", "snapshot of 12 tokens, digest 0a1b..., of tenant t".
std::string Describe(const DocumentName& name);
std::string Describe(const SnapshotKey& key);

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_VERIFIER_H_
