// Puts the store together: opening, statistics, and the public methods over the tables that do the
// work (documents.h, snapshots.h, segments.h).
#include "cache_store/store.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <utility>

#include "cache_store/coding.h"
#include "cache_store/database.h"
#include "cache_store/disk_budget.h"
#include "cache_store/documents.h"
#include "cache_store/limits.h"
#include "cache_store/message.h"
#include "cache_store/open_with_file_system.h"
#include "cache_store/segments.h"
#include "cache_store/snapshots.h"

namespace longleaf::store {
namespace {

int64_t SystemMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

absl::Status CheckOptions(const StoreOptions& options) {
  if (options.path.empty()) return absl::InvalidArgumentError("the store has no path");
  if (options.disk_cap_bytes < 0 || options.min_free_bytes < 0) {
    return absl::InvalidArgumentError("disk_cap_bytes or min_free_bytes is negative");
  }
  if (options.value_bytes < kMinValueBytes || options.value_bytes > kMaxValueBytes) {
    return absl::InvalidArgumentError(internal::Message("value_bytes ", options.value_bytes,
                                                        " is not between ", kMinValueBytes, " and ",
                                                        kMaxValueBytes));
  }
  if (options.text_chunk_bytes < kMinTextChunkBytes || options.text_chunk_bytes > kMaxValueBytes) {
    return absl::InvalidArgumentError(
        internal::Message("text_chunk_bytes ", options.text_chunk_bytes, " is not between ",
                          kMinTextChunkBytes, " and ", kMaxValueBytes));
  }
  return absl::OkStatus();
}

}  // namespace

struct ValueBuffer::Rep {
  rocksdb::PinnableSlice slice;
};

ValueBuffer::ValueBuffer() : rep_(std::make_unique<Rep>()) {}
ValueBuffer::~ValueBuffer() = default;
ValueBuffer::ValueBuffer(ValueBuffer&&) noexcept = default;
ValueBuffer& ValueBuffer::operator=(ValueBuffer&&) noexcept = default;

struct Store::Rep {
  Rep(const StoreOptions& options, std::unique_ptr<internal::Database> opened)
      : database(std::move(opened)),
        clock(options.clock ? options.clock : SystemMicros),
        budget(options.disk_cap_bytes),
        segments(*database, budget, options.value_bytes),
        snapshots(*database, budget, segments, clock),
        documents(*database, budget, snapshots, options.text_chunk_bytes, clock) {}
  // The index lets go of its segments when it is destroyed, and they are to stay on the disk.
  ~Rep() { segments.Stop(); }

  template <typename T>
  absl::StatusOr<T> CountDamage(absl::StatusOr<T> read) {
    if (absl::IsDataLoss(read.status())) damaged_reads.fetch_add(1, std::memory_order_relaxed);
    return read;
  }

  const std::unique_ptr<internal::Database> database;
  const std::function<int64_t()> clock;
  internal::DiskBudget budget;
  std::atomic<int64_t> damaged_reads{0};
  internal::SegmentTable segments;
  internal::SnapshotTable snapshots;
  internal::DocumentTable documents;
};

absl::StatusOr<std::unique_ptr<Store>> OpenWithFileSystem(
    const StoreOptions& options, std::shared_ptr<rocksdb::FileSystem> file_system) {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckOptions(options));
  absl::StatusOr<std::unique_ptr<internal::Database>> database =
      internal::Database::Open(options, std::move(file_system));
  if (!database.ok()) return database.status();
  auto rep = std::make_unique<Store::Rep>(options, *std::move(database));
  LONGLEAF_STORE_RETURN_IF_ERROR(rep->segments.Load());
  LONGLEAF_STORE_RETURN_IF_ERROR(rep->snapshots.Load());
  LONGLEAF_STORE_RETURN_IF_ERROR(rep->documents.Load());
  rep->segments.StartReclaiming();
  rep->documents.StartWritingNotes();
  return std::unique_ptr<Store>(new Store(std::move(rep)));
}

absl::StatusOr<std::unique_ptr<Store>> Store::Open(const StoreOptions& options) {
  return OpenWithFileSystem(options, nullptr);
}

Store::Store(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}
Store::~Store() = default;

// ---- Documents ---------------------------------------------------------------------------------

absl::StatusOr<CreateResult> Store::CreateDocument(const std::string& tenant,
                                                   const DocumentRecord& record,
                                                   const Digest& request) {
  return rep_->documents.Create(tenant, record, request);
}

absl::StatusOr<DocumentRecord> Store::AppendUpload(const std::string& tenant, const std::string& id,
                                                   const UploadPart& part) {
  return rep_->documents.Append({tenant, id}, part);
}

absl::StatusOr<DocumentRecord> Store::FinalizeUpload(const std::string& tenant,
                                                     const std::string& id, int64_t expected_bytes,
                                                     DocumentState next, int64_t serial) {
  return rep_->CountDamage(rep_->documents.Finalize({tenant, id}, expected_bytes, next, serial));
}

absl::StatusOr<DocumentRecord> Store::GetDocument(const std::string& tenant,
                                                  const std::string& id) {
  return rep_->CountDamage(rep_->documents.Get({tenant, id}));
}

absl::StatusOr<DocumentPage> Store::ListDocuments(const std::string& tenant, int32_t page_size,
                                                  std::string_view resume_key) {
  return rep_->documents.List(tenant, page_size, resume_key);
}

absl::StatusOr<DocumentRecord> Store::UpdateDocument(
    const std::string& tenant, const std::string& id,
    absl::FunctionRef<absl::Status(DocumentRecord&)> change) {
  return rep_->documents.Update({tenant, id}, change);
}

void Store::MarkAsked(const std::string& tenant, const std::string& id) {
  rep_->documents.MarkAsked({tenant, id});
}

void Store::NoteRead(const std::string& tenant, const std::string& id, int64_t serial,
                     int64_t tokens) {
  rep_->documents.NoteRead({tenant, id}, serial, tokens);
}

absl::Status Store::DeleteDocument(const std::string& tenant, const std::string& id) {
  return rep_->documents.Delete({tenant, id}, nullptr);
}

absl::Status Store::DeleteDocumentIf(const std::string& tenant, const std::string& id,
                                     absl::FunctionRef<bool(const DocumentRecord&)> condition) {
  return rep_->documents.Delete({tenant, id}, &condition);
}

absl::StatusOr<std::string> Store::ReadText(const std::string& tenant, const std::string& id,
                                            int64_t offset, int64_t length, int64_t serial) {
  return rep_->CountDamage(rep_->documents.ReadText({tenant, id}, offset, length, serial));
}

absl::StatusOr<std::vector<TextToken>> Store::ReadTokens(const std::string& tenant,
                                                         const std::string& id, int64_t first,
                                                         int64_t count) {
  return rep_->CountDamage(rep_->documents.ReadTokens({tenant, id}, first, count));
}

absl::StatusOr<DocumentRecord> Store::ResetTokens(const std::string& tenant, const std::string& id,
                                                  const Digest& token_fingerprint) {
  return rep_->documents.ResetTokens({tenant, id}, token_fingerprint);
}

std::vector<DocumentName> Store::ExpiredDocuments(int64_t now_us, int32_t limit) {
  return rep_->documents.Expired(now_us, limit);
}

std::vector<DocumentName> Store::AbandonedUploads(int64_t before_us, int32_t limit) {
  return rep_->documents.AbandonedUploads(before_us, limit);
}

// ---- Snapshots ---------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<SegmentWriter>> Store::NewSegment(const SegmentSpec& spec) {
  return rep_->segments.NewWriter(spec, [rep = rep_.get()](int64_t bytes) {
    return rep->snapshots.Reserve(internal::Use::kReserved, bytes);
  });
}

absl::StatusOr<SnapshotPtr> Store::CommitSnapshot(const CommitSpec& spec) {
  if (spec.document_id.empty()) return rep_->snapshots.Commit(spec);
  absl::StatusOr<SnapshotPtr> committed = absl::UnknownError("not run");
  LONGLEAF_STORE_RETURN_IF_ERROR(
      rep_->documents.WithDocument({spec.key.tenant, spec.document_id}, [&] {
        committed = rep_->snapshots.Commit(spec);
        return committed.status();
      }));
  return committed;
}

absl::StatusOr<SnapshotPtr> Store::FindSnapshot(const SnapshotKey& key) {
  return rep_->snapshots.Find(key);
}

absl::StatusOr<SnapshotPtr> Store::FindLongestPrefix(const std::string& tenant,
                                                     const Digest& fingerprint,
                                                     absl::Span<const int32_t> tokens) {
  return rep_->snapshots.FindLongestPrefix(tenant, fingerprint, tokens);
}

bool Store::ContainsSnapshot(const SnapshotKey& key) { return rep_->snapshots.Contains(key); }

absl::Status Store::ClaimSnapshot(const SnapshotKey& key, const std::string& document_id) {
  return rep_->documents.WithDocument({key.tenant, document_id},
                                      [&] { return rep_->snapshots.Claim(key, document_id); });
}

absl::StatusOr<absl::Span<const std::byte>> Store::ReadValue(const Snapshot& snapshot,
                                                             int64_t segment, int64_t value,
                                                             ValueBuffer& buffer) {
  if (segment < 0 || segment >= static_cast<int64_t>(snapshot.segments().size())) {
    return absl::OutOfRangeError(internal::Message("the snapshot has ", snapshot.segments().size(),
                                                   " segments, number ", segment,
                                                   " was asked for"));
  }
  return rep_->CountDamage(rep_->segments.ReadValue(
      *snapshot.segments()[static_cast<size_t>(segment)], value, buffer.rep_->slice));
}

absl::Status Store::ReadSegment(const Snapshot& snapshot, int64_t segment, int64_t offset,
                                absl::Span<std::byte> out, ValueBuffer& buffer) {
  if (segment < 0 || segment >= static_cast<int64_t>(snapshot.segments().size())) {
    return absl::OutOfRangeError(internal::Message("no segment ", segment));
  }
  const SegmentInfo& info = snapshot.segments()[static_cast<size_t>(segment)]->info();
  if (offset < 0 || offset > info.bytes || static_cast<int64_t>(out.size()) > info.bytes - offset) {
    return absl::OutOfRangeError(internal::Message("bytes ", offset, " + ", out.size(), " of ",
                                                   info.bytes, " in segment ", info.id));
  }
  while (!out.empty()) {
    const absl::StatusOr<absl::Span<const std::byte>> value =
        ReadValue(snapshot, segment, offset / info.value_bytes, buffer);
    if (!value.ok()) return value.status();
    const absl::Span<const std::byte> part =
        value->subspan(static_cast<size_t>(offset % info.value_bytes), out.size());
    std::memcpy(out.data(), part.data(), part.size());
    out.remove_prefix(part.size());
    offset += static_cast<int64_t>(part.size());
  }
  return absl::OkStatus();
}

absl::Status Store::DropSnapshot(const SnapshotKey& key, DropReason reason) {
  return rep_->snapshots.Drop(key, reason);
}

// ---- The whole ---------------------------------------------------------------------------------

StoreStats Store::Stats() {
  StoreStats stats;
  rep_->documents.AddStats(stats);
  rep_->snapshots.AddStats(stats);
  rep_->database->AddStats(stats);
  const internal::DiskBudget::Used used = rep_->budget.used();
  stats.text_bytes = used.text;
  stats.token_bytes = used.tokens;
  stats.reserved_bytes = used.reserved;
  stats.snapshot_bytes = used.segments + used.reserved;
  stats.capacity_bytes = rep_->budget.cap();
  stats.damaged_reads = rep_->damaged_reads.load(std::memory_order_relaxed);
  return stats;
}

void Store::WaitForReclaim() { (void)rep_->segments.Reclaim(); }

std::string_view DropReasonName(DropReason reason) {
  switch (reason) {
    case DropReason::kCapacity:
      return "capacity";
    case DropReason::kReplaced:
      return "replaced";
    case DropReason::kDeleted:
      return "deleted";
    case DropReason::kCorrupt:
      return "corrupt";
    case DropReason::kFingerprint:
      return "fingerprint";
    case DropReason::kUnreadable:
      return "unreadable";
  }
  return "unknown";
}

}  // namespace longleaf::store
