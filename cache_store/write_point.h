// The moments at which a crash would leave something different on the disk. Tests stop the disk
// dead at each of them (StoreOptions::at_point); in production nothing listens.
#ifndef LONGLEAF_CACHE_STORE_WRITE_POINT_H_
#define LONGLEAF_CACHE_STORE_WRITE_POINT_H_

#include <array>
#include <string_view>

namespace longleaf::store {

// "-ing" is before the write, "-ed" after it is durable, unless a comment says otherwise.
enum class WritePoint {
  kDocumentCreating,
  kDocumentCreated,
  kUploadAppending,  // one chunk of text, tokens, or both
  kUploadAppended,
  kUploadFinalizing,
  kUploadFinalized,
  kDocumentDeleting,
  kDocumentDeleted,
  kSegmentValueWritten,  // handed to the segment's file, not synced
  kSegmentFileFinished,  // the file is complete and synced, and not yet the database's
  kSegmentIngested,      // the database has it, no manifest does
  kManifestCommitting,
  kManifestCommitted,  // with what it replaces removed
  kSnapshotDropping,
  kSnapshotDropped,
  kSnapshotsEvicting,
  kSnapshotsEvicted,
  kSegmentReclaiming,  // the file of a segment that nothing needs
  kSegmentReclaimed,
  // Open, in this order.
  kIncomingCleared,  // deleted, not synced
  kRepairsWritten,   // rows that do not hold together are gone
  kOrphanRemoving,
  kOrphanRemoved,
};

inline constexpr std::array kWritePoints = {
    WritePoint::kDocumentCreating,    WritePoint::kDocumentCreated,
    WritePoint::kUploadAppending,     WritePoint::kUploadAppended,
    WritePoint::kUploadFinalizing,    WritePoint::kUploadFinalized,
    WritePoint::kDocumentDeleting,    WritePoint::kDocumentDeleted,
    WritePoint::kSegmentValueWritten, WritePoint::kSegmentFileFinished,
    WritePoint::kSegmentIngested,     WritePoint::kManifestCommitting,
    WritePoint::kManifestCommitted,   WritePoint::kSnapshotDropping,
    WritePoint::kSnapshotDropped,     WritePoint::kSnapshotsEvicting,
    WritePoint::kSnapshotsEvicted,    WritePoint::kSegmentReclaiming,
    WritePoint::kSegmentReclaimed,    WritePoint::kIncomingCleared,
    WritePoint::kRepairsWritten,      WritePoint::kOrphanRemoving,
    WritePoint::kOrphanRemoved,
};

// "document_creating", ...
constexpr std::string_view WritePointName(WritePoint point) {
  switch (point) {
    case WritePoint::kDocumentCreating:
      return "document_creating";
    case WritePoint::kDocumentCreated:
      return "document_created";
    case WritePoint::kUploadAppending:
      return "upload_appending";
    case WritePoint::kUploadAppended:
      return "upload_appended";
    case WritePoint::kUploadFinalizing:
      return "upload_finalizing";
    case WritePoint::kUploadFinalized:
      return "upload_finalized";
    case WritePoint::kDocumentDeleting:
      return "document_deleting";
    case WritePoint::kDocumentDeleted:
      return "document_deleted";
    case WritePoint::kSegmentValueWritten:
      return "segment_value_written";
    case WritePoint::kSegmentFileFinished:
      return "segment_file_finished";
    case WritePoint::kSegmentIngested:
      return "segment_ingested";
    case WritePoint::kManifestCommitting:
      return "manifest_committing";
    case WritePoint::kManifestCommitted:
      return "manifest_committed";
    case WritePoint::kSnapshotDropping:
      return "snapshot_dropping";
    case WritePoint::kSnapshotDropped:
      return "snapshot_dropped";
    case WritePoint::kSnapshotsEvicting:
      return "snapshots_evicting";
    case WritePoint::kSnapshotsEvicted:
      return "snapshots_evicted";
    case WritePoint::kSegmentReclaiming:
      return "segment_reclaiming";
    case WritePoint::kSegmentReclaimed:
      return "segment_reclaimed";
    case WritePoint::kIncomingCleared:
      return "incoming_cleared";
    case WritePoint::kRepairsWritten:
      return "repairs_written";
    case WritePoint::kOrphanRemoving:
      return "orphan_removing";
    case WritePoint::kOrphanRemoved:
      return "orphan_removed";
  }
  return "unknown";
}

}  // namespace longleaf::store

#endif  // LONGLEAF_CACHE_STORE_WRITE_POINT_H_
