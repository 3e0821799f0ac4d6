// Documents: records, uploads, text and tokens, the request index, expiry.
#ifndef LONGLEAF_CACHE_STORE_DOCUMENTS_H_
#define LONGLEAF_CACHE_STORE_DOCUMENTS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cache_store/database.h"
#include "cache_store/disk_budget.h"
#include "cache_store/document_notes.h"
#include "cache_store/id_counter.h"
#include "cache_store/mutex.h"
#include "cache_store/snapshots.h"
#include "cache_store/store.h"

namespace longleaf::store::internal {

// The methods are Store's. Thread-safe: one change at a time to one document, readers never wait.
// Locks are taken in the order create_mutex_, a document's name, then the snapshot table's.
class DocumentTable {
 public:
  DocumentTable(Database& database, DiskBudget& budget, SnapshotTable& snapshots,
                int32_t text_chunk_bytes, std::function<int64_t()> clock);

  // Counts what is there. Once, before anything else.
  absl::Status Load();
  void StartWritingNotes();

  absl::StatusOr<CreateResult> Create(const std::string& tenant, const DocumentRecord& record,
                                      const Digest& request);
  absl::StatusOr<DocumentRecord> Append(const DocumentName& name, const UploadPart& part);
  absl::StatusOr<DocumentRecord> Finalize(const DocumentName& name, int64_t expected_bytes,
                                          DocumentState next, int64_t serial);
  absl::StatusOr<DocumentRecord> Get(const DocumentName& name);
  absl::StatusOr<DocumentPage> List(const std::string& tenant, int32_t page_size,
                                    std::string_view resume_key);
  absl::StatusOr<DocumentRecord> Update(const DocumentName& name,
                                        absl::FunctionRef<absl::Status(DocumentRecord&)> change);
  void MarkAsked(const DocumentName& name) { notes_.Asked(name, clock_()); }
  void NoteRead(const DocumentName& name, int64_t serial, int64_t tokens) {
    notes_.Read(name, serial, tokens);
  }
  // `condition` may be null: none.
  absl::Status Delete(const DocumentName& name,
                      const absl::FunctionRef<bool(const DocumentRecord&)>* condition);
  absl::StatusOr<std::string> ReadText(const DocumentName& name, int64_t offset, int64_t length,
                                       int64_t serial);
  absl::StatusOr<std::vector<TextToken>> ReadTokens(const DocumentName& name, int64_t first,
                                                    int64_t count);
  absl::StatusOr<DocumentRecord> ResetTokens(const DocumentName& name, const Digest& fingerprint);
  std::vector<DocumentName> Expired(int64_t now_us, int32_t limit);
  std::vector<DocumentName> AbandonedUploads(int64_t before_us, int32_t limit);

  // Runs `use` while the document exists and cannot be deleted.
  absl::Status WithDocument(const DocumentName& name, absl::FunctionRef<absl::Status()> use);

  // Fills documents and damaged_documents.
  void AddStats(StoreStats& stats);

 private:
  // The first result of a request made before; nullopt: it is new, or its document is gone.
  absl::StatusOr<std::optional<CreateResult>> FindRequest(const std::string& tenant,
                                                          const std::string& request_id,
                                                          const Digest& request);
  // As it is stored, without what is noted.
  absl::StatusOr<DocumentRecord> GetStored(const DocumentName& name);
  void WriteNote(const DocumentName& name);
  absl::Status WriteRecord(const std::string& tenant, const DocumentRecord& before,
                           const DocumentRecord& after, Batch& batch, Durability durability);
  // Keeps counts and expiry in step with what is on the disk; either may be null.
  void Recount(const std::string& tenant, const DocumentRecord* before,
               const DocumentRecord* after);
  int64_t StoredBytes(const DocumentName& name);  // of a document whose record is damaged
  // Why a read found nothing: the document was deleted or replaced meanwhile, or `lost`.
  absl::Status ExplainLoss(const DocumentName& name, int64_t serial, absl::Status lost);

  Database& database_;
  DiskBudget& budget_;
  SnapshotTable& snapshots_;
  const int64_t text_chunk_bytes_;
  const std::function<int64_t()> clock_;
  IdCounter serials_;
  NameLocks names_;
  Mutex create_mutex_;  // two creations with one request id must not both be the first

  Mutex counts_mutex_;
  std::map<DocumentState, int64_t> by_state_ ABSL_GUARDED_BY(counts_mutex_);
  std::set<std::tuple<int64_t, std::string, std::string>> expiry_ ABSL_GUARDED_BY(counts_mutex_);
  std::set<std::tuple<int64_t, std::string, std::string>> uploading_ ABSL_GUARDED_BY(counts_mutex_);
  std::set<DocumentName> damaged_ ABSL_GUARDED_BY(counts_mutex_);

  DocumentNotes notes_;  // last: its thread uses all of the above
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_DOCUMENTS_H_
