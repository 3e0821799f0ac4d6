// The durable store of a server: documents with their text and tokens, and snapshots of model
// state, in one RocksDB directory (FORMAT.md). It knows bytes, not models.
//
// What it promises:
//  - An OK from a call that changes something means that the change is on the disk (synced) and
//    survives a crash, unless the call says otherwise.
//  - A snapshot is visible whole or not at all, and every byte read from it has been verified.
//  - Text is never evicted. Snapshots are a cache: any of them may go when space is needed, the
//    least recently asked first, never one that is pinned.
//  - The disk cap is checked before writing and recounted by Open.
//
// Errors, the same everywhere:
//   INVALID_ARGUMENT     an id, name, offset or span outside its limits
//   NOT_FOUND            no such document or snapshot
//   ALREADY_EXISTS       the document id is taken
//   OUT_OF_RANGE         an append or a read beside the committed bytes or tokens
//   FAILED_PRECONDITION  the document's state does not allow it; another program's format version
//   RESOURCE_EXHAUSTED   disk cap reached, or the disk is full
//   UNAVAILABLE          the disk fails; works again by itself when the disk does
//   DATA_LOSS            stored bytes are damaged; the message names what and where
//
// All methods are thread-safe and may block on the disk.
#ifndef LONGLEAF_CACHE_STORE_STORE_H_
#define LONGLEAF_CACHE_STORE_STORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cache_store/record.h"
#include "cache_store/snapshot.h"
#include "cache_store/write_point.h"

namespace rocksdb {
class FileSystem;
}

namespace longleaf::store {

struct StoreOptions {
  std::string path;  // directory; created where missing
  // Cap on text, tokens and snapshots together. RocksDB's own logs and unfinished compactions come
  // on top, at most about 512 MiB. 0: no cap but the disk.
  int64_t disk_cap_bytes = 0;
  // Writes are refused when the file system would have less than this free.
  int64_t min_free_bytes = int64_t{256} << 20;
  int32_t value_bytes = 1 << 20;       // payload of one segment value, 4 KiB..16 MiB
  int32_t text_chunk_bytes = 1 << 20;  // text is stored in chunks of at most this, 1 KiB..16 MiB
  // Microseconds since the epoch; the system clock when empty. For tests.
  std::function<int64_t()> clock;
  // Called where a crash would matter, on the thread that does the work and sometimes under the
  // store's locks: it must not call the store. For tests; empty otherwise.
  std::function<void(WritePoint)> at_point;
};

// A token of a document's text.
struct TextToken {
  int32_t id = 0;        // >= 0
  int64_t end_byte = 0;  // offset in the text just after the token; never decreasing

  bool operator==(const TextToken&) const = default;
};

// One step of an upload: text, tokens, or both, in one synced write.
struct UploadPart {
  int64_t write_offset = 0;  // must equal the committed text_bytes (also when text is empty)
  std::string_view text;     // at most 64 MiB a call
  int64_t first_token = 0;   // must equal the committed token_count (also when tokens is empty)
  absl::Span<const TextToken> tokens;  // [n]
  // Text before this offset is tokenised for good; >= the committed one, <= all text, >= the last
  // token's end.
  int64_t tokenized_bytes = 0;
  // Of the document that is meant, so that a late part does not end up in another that was made
  // under the same id meanwhile (NOT_FOUND then); 0: whichever has the name.
  int64_t serial = 0;
};

struct CreateResult {
  DocumentRecord record;
  bool created = false;  // false: this request_id made it before, nothing was changed
};

struct DocumentPage {
  std::vector<DocumentRecord> documents;  // ordered by id
  std::vector<std::string> damaged_ids;   // records in this stretch that do not decode
  std::string resume_key;                 // opaque; empty: no more
};

struct DocumentName {
  std::string tenant;
  std::string id;
  auto operator<=>(const DocumentName&) const = default;
};

// Why a snapshot was removed. Used as a metric label by the service.
enum class DropReason {
  kCapacity,     // evicted for space
  kReplaced,     // by a later checkpoint of the same document
  kDeleted,      // its last document was deleted
  kCorrupt,      // checksum, length or identity did not agree
  kFingerprint,  // not valid for the model that is served
  kUnreadable,   // the codec refused its meaning
};
std::string_view DropReasonName(DropReason reason);  // "capacity", ...

struct StoreStats {
  std::map<DocumentState, int64_t> documents;
  int64_t damaged_documents = 0;  // records that do not decode, as of Open
  int64_t text_bytes = 0;         // text
  int64_t token_bytes = 0;        // tokens of the text, as stored
  int64_t snapshot_bytes = 0;     // segments on disk: stored, being written, not yet reclaimed
  int64_t reserved_bytes = 0;     // the part of snapshot_bytes that is promised but not yet written
  int64_t capacity_bytes = 0;     // the cap; 0: none
  int64_t snapshots = 0;
  std::map<DropReason, int64_t> drops;  // since Open; kCapacity are the evictions
  int64_t damaged_reads = 0;            // of text, tokens and segments that found damage
  int64_t refused_writes = 0;           // for cap or full disk, since Open
  int64_t orphan_segments_removed = 0;  // by Open
  int64_t damaged_files_removed = 0;    // by Open: of snapshots, not as written
  int64_t rebuilt_counters = 0;         // by Open: damaged, or behind the numbers that are in use
  // Open found the write-ahead log damaged before its end: what was acknowledged shortly before the
  // last stop may be missing. To be said loudly.
  bool damaged_log = false;
  // RocksDB.
  bool writes_failing = false;     // the disk failed or was full; retried until it works again
  bool write_stopped = false;      // stalled: too much to flush or compact
  int64_t delayed_write_rate = 0;  // bytes/s; 0: not delayed
  int64_t pending_compaction_bytes = 0;
  int64_t background_errors = 0;
};

// Memory for one value; keep one per thread and pass it again, so that big buffers are reused.
// The span ReadValue returned is valid until the next use or the end of its buffer. Not
// thread-safe. Must not outlive the Store it was used with.
class ValueBuffer {
 public:
  ValueBuffer();
  ~ValueBuffer();
  ValueBuffer(ValueBuffer&&) noexcept;
  ValueBuffer& operator=(ValueBuffer&&) noexcept;

 private:
  friend class Store;
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

// Writes one segment; made by Store::NewSegment. Appended bytes are cut into values as they come,
// so at most one value is held in memory. Destroyed without Finish, it leaves nothing behind. Not
// thread-safe; several writers may work at once. Must not outlive the Store.
class SegmentWriter {
 public:
  virtual ~SegmentWriter() = default;
  // RESOURCE_EXHAUSTED beyond the cap; after any error the writer is of no more use.
  virtual absl::Status Append(absl::Span<const std::byte> bytes) = 0;
  // The data is synced and inside the store, but belongs to no snapshot yet: it goes again with the
  // last SegmentPtr unless CommitSnapshot lists it.
  virtual absl::StatusOr<SegmentPtr> Finish() = 0;
};

struct SegmentSpec {
  std::string tenant;
  SegmentKind kind = SegmentKind::kCore;
  int64_t first_token = 0;  // [first_token, last_token)
  int64_t last_token = 0;
  int64_t expected_bytes =
      0;  // reserved under the cap at once; more may be appended while there is room
};

struct CommitSpec {
  SnapshotKey key;
  std::vector<SegmentPtr>
      segments;  // cores in token order, then the tail; may be another snapshot's
  std::string meta;
  // The document this is the state of; empty: nobody's. DeleteDocument lets go of its snapshots.
  std::string document_id;
  // An earlier checkpoint of the same document to let go of in the same write. Ignored when it is
  // gone, equal to `key`, or still another document's.
  std::optional<SnapshotKey> replaces;
};

class Store {
 public:
  // Opens or creates; removes orphans (segments of no manifest, files of unfinished writes),
  // recounts all bytes. Unfinished uploads stay and can go on. FAILED_PRECONDITION for another
  // schema version (both numbers in the message), UNAVAILABLE when another process holds the
  // directory.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const StoreOptions& options);

  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // ---- Documents -------------------------------------------------------------------------------

  // A new document in kCreating, from record's id, display_name, labels, expire_time_us, request_id
  // and token_fingerprint. With a request_id known from before: its document when `request` is the
  // same digest (created=false), ALREADY_EXISTS when it is not.
  absl::StatusOr<CreateResult> CreateDocument(const std::string& tenant,
                                              const DocumentRecord& record, const Digest& request);

  // Appends to a document in kCreating. OUT_OF_RANGE when an offset is not the committed one
  // (GetDocument has it): nothing is written then. Returns the record after the write. Tokens alone
  // may be appended in any state (after ResetTokens).
  absl::StatusOr<DocumentRecord> AppendUpload(const std::string& tenant, const std::string& id,
                                              const UploadPart& part);

  // Text complete: verifies and hashes the stored text by streaming it, sets text_sha256 and state
  // (kQueued or kActive). OUT_OF_RANGE unless exactly `expected_bytes` are committed. For a
  // document past kCreating it changes nothing and returns the record (a retry). `serial` as in
  // UploadPart.
  absl::StatusOr<DocumentRecord> FinalizeUpload(const std::string& tenant, const std::string& id,
                                                int64_t expected_bytes,
                                                DocumentState next = DocumentState::kQueued,
                                                int64_t serial = 0);

  absl::StatusOr<DocumentRecord> GetDocument(const std::string& tenant, const std::string& id);

  // Up to page_size (>= 1) documents after resume_key (empty: from the start). Expired ones are
  // listed too until they are deleted.
  absl::StatusOr<DocumentPage> ListDocuments(const std::string& tenant, int32_t page_size,
                                             std::string_view resume_key);

  // Runs `change` on the record with the document locked, then writes it and raises the revision.
  // For compare-and-set, look at record.revision in it and return ABORTED. An error of `change` is
  // returned and nothing is written. `change` must not call the Store. Returns the new record.
  absl::StatusOr<DocumentRecord> UpdateDocument(
      const std::string& tenant, const std::string& id,
      absl::FunctionRef<absl::Status(DocumentRecord&)> change);

  // Notes that a question was asked now. Never waits for the disk: written about a second later,
  // not synced, revision unchanged.
  void MarkAsked(const std::string& tenant, const std::string& id);

  // Notes how far the document with this serial has been read (DocumentRecord::read_tokens), in the
  // same way.
  void NoteRead(const std::string& tenant, const std::string& id, int64_t serial, int64_t tokens);

  // Text, tokens, request index, metadata; and its snapshots, unless another document has them.
  absl::Status DeleteDocument(const std::string& tenant, const std::string& id);

  // The same if `condition` still holds, else FAILED_PRECONDITION: for those who decided on a
  // record that may have been replaced meanwhile. `condition` must not call the Store.
  absl::Status DeleteDocumentIf(const std::string& tenant, const std::string& id,
                                absl::FunctionRef<bool(const DocumentRecord&)> condition);

  // Text bytes [offset, min(offset + length, text_bytes)), every chunk verified. OUT_OF_RANGE when
  // offset is past the end. DATA_LOSS names the document and the offset of the damaged chunk.
  // At most 64 MiB a call. `serial` as in UploadPart.
  absl::StatusOr<std::string> ReadText(const std::string& tenant, const std::string& id,
                                       int64_t offset, int64_t length, int64_t serial = 0);

  // Tokens [first, min(first + count, token_count)). As ReadText.
  absl::StatusOr<std::vector<TextToken>> ReadTokens(const std::string& tenant,
                                                    const std::string& id, int64_t first,
                                                    int64_t count);

  // Forgets the tokens (another tokenizer, or damaged) and names what the next ones are valid for.
  absl::StatusOr<DocumentRecord> ResetTokens(const std::string& tenant, const std::string& id,
                                             const Digest& token_fingerprint);

  // Up to `limit` documents with 0 < expire_time_us <= now_us, the longest expired first.
  std::vector<DocumentName> ExpiredDocuments(int64_t now_us, int32_t limit);

  // Up to `limit` documents in kCreating that have got no text since before_us, the oldest first.
  std::vector<DocumentName> AbandonedUploads(int64_t before_us, int32_t limit);

  // ---- Snapshots -------------------------------------------------------------------------------

  // Evicts as needed to reserve expected_bytes, RESOURCE_EXHAUSTED when that is not enough.
  absl::StatusOr<std::unique_ptr<SegmentWriter>> NewSegment(const SegmentSpec& spec);

  // Makes a snapshot visible in one synced write. When the key is stored already, the stored one is
  // kept and returned, and only the document's claim is added.
  absl::StatusOr<SnapshotPtr> CommitSnapshot(const CommitSpec& spec);

  // The snapshot, pinned, or NOT_FOUND. Counts as asked.
  absl::StatusOr<SnapshotPtr> FindSnapshot(const SnapshotKey& key);

  // The largest stored snapshot whose tokens are a prefix of `tokens` (all of it counts), pinned,
  // or NOT_FOUND. Counts as asked.
  absl::StatusOr<SnapshotPtr> FindLongestPrefix(const std::string& tenant,
                                                const Digest& fingerprint,
                                                absl::Span<const int32_t> tokens);  // [n]

  // Whether FindSnapshot would find it now. Does not count as asked.
  bool ContainsSnapshot(const SnapshotKey& key);

  // Notes that `document_id` uses this snapshot too (found, not committed, by it), so that deleting
  // another of its documents leaves it. NOT_FOUND when either is gone.
  absl::Status ClaimSnapshot(const SnapshotKey& key, const std::string& document_id);

  // One value of a segment of `snapshot`, verified: length, identity, XXH3. `segment` indexes
  // snapshot.segments(). The span lies in `buffer`. DATA_LOSS: the caller drops the snapshot.
  absl::StatusOr<absl::Span<const std::byte>> ReadValue(const Snapshot& snapshot, int64_t segment,
                                                        int64_t value, ValueBuffer& buffer);

  // Copies payload bytes [offset, offset + out.size()) of a segment; verifies every value it
  // touches whole, so ask for much at a time. OUT_OF_RANGE beyond the segment.
  absl::Status ReadSegment(const Snapshot& snapshot, int64_t segment, int64_t offset,
                           absl::Span<std::byte> out, ValueBuffer& buffer);

  // Removes a snapshot; readers that have it keep it. OK also when it is gone. Counted by reason.
  absl::Status DropSnapshot(const SnapshotKey& key, DropReason reason);

  // ---- The whole -------------------------------------------------------------------------------

  StoreStats Stats();

  // Waits until the segments that nobody needs are off the disk (it happens behind otherwise).
  void WaitForReclaim();

 private:
  friend absl::StatusOr<std::unique_ptr<Store>> OpenWithFileSystem(
      const StoreOptions& options, std::shared_ptr<rocksdb::FileSystem> file_system);
  struct Rep;
  explicit Store(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace longleaf::store

#endif  // LONGLEAF_CACHE_STORE_STORE_H_
