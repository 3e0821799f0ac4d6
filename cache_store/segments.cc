// Reading segments and taking them off the disk. Writing is in segment_writer.cc.
#include "cache_store/segments.h"

#include <rocksdb/metadata.h>

#include <chrono>
#include <utility>
#include <vector>

#include "cache_store/coding.h"
#include "cache_store/keys.h"
#include "cache_store/message.h"
#include "cache_store/segment_value.h"

namespace longleaf::store::internal {
namespace {

// How long a removal that failed waits for the next try.
constexpr std::chrono::milliseconds kRetry{5000};

absl::Status Damaged(const Segment& segment, int64_t index, std::string_view how) {
  return absl::DataLossError(Message("segment ", segment.info().id, ", value ", index, ": ", how));
}

}  // namespace

SegmentTable::SegmentTable(Database& database, DiskBudget& budget, int32_t value_bytes)
    : database_(database),
      budget_(budget),
      value_bytes_(value_bytes),
      ids_(database, "next-segment"),
      ledger_(std::make_shared<SegmentLedger>()) {}

SegmentTable::~SegmentTable() { Stop(); }

void SegmentTable::Stop() {
  ledger_->Close();
  if (reclaimer_.joinable()) reclaimer_.join();
  (void)Reclaim();  // what is left now is an orphan for the next start
}

absl::Status SegmentTable::Load() {
  const std::set<int64_t> on_disk = OnDisk();
  return ids_.Load(on_disk.empty() ? 0 : *on_disk.rbegin());
}

void SegmentTable::StartReclaiming() {
  reclaimer_ = std::thread([this] { ReclaimLoop(); });
}

void SegmentTable::ReclaimLoop() {
  while (ledger_->WaitForDoomed()) {
    if (!Reclaim().ok()) ledger_->Pause(kRetry);
  }
}

absl::Status SegmentTable::Reclaim() {
  MutexLock lock(&reclaim_mutex_);
  absl::Status result;
  for (const DoomedSegment& segment : ledger_->Take()) {
    database_.At(WritePoint::kSegmentReclaiming);
    const absl::Status status = RemoveFromDisk(segment.id);
    if (status.ok()) {
      database_.At(WritePoint::kSegmentReclaimed);
      budget_.Add(Use::kSegments, -segment.stored_bytes);
    } else {
      result = status;
      ledger_->Doom(segment);
    }
  }
  return result;
}

absl::Status SegmentTable::RemoveFromDisk(int64_t segment_id) {
  const std::string begin = SegmentPrefix(segment_id);
  const std::string end = SegmentPrefix(segment_id + 1);
  const rocksdb::Slice first(begin);
  const rocksdb::Slice last(end);
  LONGLEAF_STORE_RETURN_IF_ERROR(database_.DeleteSegmentFiles(first, last));
  const std::string unfinished = database_.IncomingFile(segment_id);
  if (database_.env()->FileExists(unfinished).ok()) {
    LONGLEAF_STORE_RETURN_IF_ERROR(FromRocks(database_.env()->DeleteFile(unfinished)));
  }
  // A file that RocksDB had to leave (in level 0, or in use by a compaction) gets a range deletion;
  // not otherwise, for these pile up in a family without compaction.
  const std::unique_ptr<rocksdb::Iterator> left = database_.Scan(Family::kSegments, &first, &last);
  if (!left->Valid()) return FromRocks(left->status());
  Batch batch(database_);
  batch.DeleteRange(Family::kSegments, begin, end);
  return database_.Write(batch, Durability::kSynced);
}

std::set<int64_t> SegmentTable::OnDisk() {
  std::vector<rocksdb::LiveFileMetaData> files;
  database_.db()->GetLiveFilesMetaData(&files);
  std::set<int64_t> ids;
  for (const rocksdb::LiveFileMetaData& file : files) {
    int64_t id = 0;
    // Level 0 holds range deletions only: segment files go to the last level.
    if (file.column_family_name == FamilyName(Family::kSegments) && file.level > 0 &&
        ParseSegmentId(file.smallestkey, &id)) {
      ids.insert(id);
    }
  }
  return ids;
}

SegmentPtr SegmentTable::Adopt(const std::string& tenant, const SegmentInfo& info) {
  budget_.Add(Use::kSegments, info.stored_bytes);
  return std::make_shared<const Segment>(tenant, info, ledger_);
}

absl::StatusOr<absl::Span<const std::byte>> SegmentTable::ReadValue(
    const Segment& segment, int64_t index, rocksdb::PinnableSlice& buffer) {
  const SegmentInfo& info = segment.info();
  if (index < 0 || index >= info.value_count()) {
    return absl::OutOfRangeError(Message("segment ", info.id, " has ", info.value_count(),
                                         " values, number ", index, " was asked for"));
  }
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  buffer.Reset();
  const rocksdb::Status status =
      database_.db()->Get(options, database_.family(Family::kSegments),
                          ToSlice(SegmentValueKey(info.id, segment.tenant(), index)), &buffer);
  if (status.IsNotFound()) return Damaged(segment, index, "is missing");
  if (!status.ok()) return Prefixed(Message("segment ", info.id), FromRocks(status));
  const std::string_view value = FromSlice(buffer);
  const int64_t length = info.value_length(index);
  if (value.size() != kSegmentValueHeaderBytes + static_cast<size_t>(length)) {
    return Damaged(segment, index, Message("has ", value.size(), " bytes"));
  }
  const uint64_t xxh3 = info.value_xxh3[static_cast<size_t>(index)];
  // The header says nothing that is not known already, so it is compared whole.
  if (value.substr(0, kSegmentValueHeaderBytes) !=
      SegmentValueHeader(info.id, index, length, xxh3)) {
    return Damaged(segment, index, "is another value, or its header is damaged");
  }
  const std::string_view payload = value.substr(kSegmentValueHeaderBytes);
  if (Xxh3(payload) != xxh3) return Damaged(segment, index, "checksum does not agree");
  return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(payload.data()), payload.size());
}

}  // namespace longleaf::store::internal
