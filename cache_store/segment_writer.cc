// Writing a segment: a sorted file beside the database, synced, then moved into it whole.
#include <rocksdb/sst_file_writer.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "cache_store/coding.h"
#include "cache_store/keys.h"
#include "cache_store/message.h"
#include "cache_store/segment_value.h"
#include "cache_store/segments.h"

namespace longleaf::store::internal {
namespace {

// What the file takes for itself: footer, properties, and an index entry, header and key a value.
constexpr int64_t kFileOverhead = 4096;
constexpr int64_t kValueOverhead = 512;

// The system begins to write back while the next values are being made; waiting for all of it at
// the end made a segment a third slower.
rocksdb::EnvOptions FileOptions() {
  rocksdb::EnvOptions options;
  options.bytes_per_sync = uint64_t{1} << 20;
  return options;
}

int64_t DiskBytes(int64_t payload, int64_t value_bytes) {
  return payload + kFileOverhead + (payload / value_bytes + 1) * kValueOverhead;
}

}  // namespace

class SegmentFileWriter : public SegmentWriter {
 public:
  SegmentFileWriter(SegmentTable& table, std::string tenant, SegmentInfo info,
                    ReserveFunction reserve, int64_t reserved)
      : table_(table),
        tenant_(std::move(tenant)),
        info_(std::move(info)),
        reserve_(std::move(reserve)),
        reserved_(reserved),
        file_name_(table.database_.IncomingFile(info_.id)),
        file_(FileOptions(), table.database_.segment_options(),
              table.database_.family(Family::kSegments), /*invalidate_page_cache=*/false) {}

  ~SegmentFileWriter() override {
    table_.budget_.Settle(reserved_, 0);
    // Once RocksDB has moved the file there is nothing to delete.
    if (!opened_ || !table_.database_.env()->FileExists(file_name_).ok()) return;
    if (table_.database_.env()->DeleteFile(file_name_).ok()) return;
    table_.ledger_->Doom({info_.id, 0});  // later, when the disk works
  }

  absl::Status Append(absl::Span<const std::byte> bytes) override {
    if (!failed_.ok()) return failed_;
    if (finished_) return absl::FailedPreconditionError("the segment is finished");
    failed_ = AppendValues(bytes);
    return failed_;
  }

  absl::StatusOr<SegmentPtr> Finish() override {
    if (!failed_.ok()) return failed_;
    if (finished_) return absl::FailedPreconditionError("the segment is finished");
    if (used_ > 0) failed_ = WriteValue();
    if (failed_.ok()) failed_ = Ingest();
    finished_ = true;
    if (!failed_.ok()) {
      table_.ledger_->Doom({info_.id, 0});  // should the file be in the database all the same
      return failed_;
    }
    table_.budget_.Settle(reserved_, info_.stored_bytes);
    reserved_ = 0;
    return std::make_shared<const Segment>(tenant_, std::move(info_), table_.ledger_);
  }

 private:
  absl::Status AppendValues(absl::Span<const std::byte> bytes) {
    const int64_t wanted =
        DiskBytes(info_.bytes + used_ + static_cast<int64_t>(bytes.size()), info_.value_bytes);
    if (wanted > reserved_) {
      LONGLEAF_STORE_RETURN_IF_ERROR(reserve_(wanted - reserved_));
      reserved_ = wanted;
    }
    while (!bytes.empty()) {
      if (value_.empty()) value_.resize(kSegmentValueHeaderBytes + ValueBytes());
      const size_t part = std::min(bytes.size(), ValueBytes() - static_cast<size_t>(used_));
      std::memcpy(value_.data() + kSegmentValueHeaderBytes + used_, bytes.data(), part);
      used_ += static_cast<int64_t>(part);
      bytes.remove_prefix(part);
      if (static_cast<size_t>(used_) == ValueBytes()) LONGLEAF_STORE_RETURN_IF_ERROR(WriteValue());
    }
    return absl::OkStatus();
  }

  // Header and payload lie in one buffer, because RocksDB takes one slice.
  absl::Status WriteValue() {
    if (!opened_) {
      opened_ = true;
      LONGLEAF_STORE_RETURN_IF_ERROR(FromRocks(file_.Open(file_name_)));
    }
    const uint64_t xxh3 =
        Xxh3({value_.data() + kSegmentValueHeaderBytes, static_cast<size_t>(used_)});
    const std::string header = SegmentValueHeader(info_.id, info_.value_count(), used_, xxh3);
    std::memcpy(value_.data(), header.data(), header.size());
    const std::string key = SegmentValueKey(info_.id, tenant_, info_.value_count());
    LONGLEAF_STORE_RETURN_IF_ERROR(FromRocks(file_.Put(
        ToSlice(key), {value_.data(), kSegmentValueHeaderBytes + static_cast<size_t>(used_)})));
    table_.database_.At(WritePoint::kSegmentValueWritten);
    info_.value_xxh3.push_back(xxh3);
    info_.bytes += used_;
    used_ = 0;
    return absl::OkStatus();
  }

  absl::Status Ingest() {
    if (!opened_) return absl::OkStatus();  // an empty segment has no file
    rocksdb::ExternalSstFileInfo file_info;
    LONGLEAF_STORE_RETURN_IF_ERROR(FromRocks(file_.Finish(&file_info)));  // syncs
    table_.database_.At(WritePoint::kSegmentFileFinished);
    LONGLEAF_STORE_RETURN_IF_ERROR(table_.database_.IngestSegmentFile(file_name_));
    table_.database_.At(WritePoint::kSegmentIngested);
    info_.stored_bytes = static_cast<int64_t>(file_info.file_size);
    return absl::OkStatus();
  }

  size_t ValueBytes() const { return static_cast<size_t>(info_.value_bytes); }

  SegmentTable& table_;
  const std::string tenant_;
  SegmentInfo info_;
  const ReserveFunction reserve_;
  int64_t reserved_;
  const std::string file_name_;
  rocksdb::SstFileWriter file_;
  std::string value_;  // header, then payload as it fills
  int64_t used_ = 0;   // payload bytes in value_
  bool opened_ = false;
  bool finished_ = false;
  absl::Status failed_;
};

absl::StatusOr<std::unique_ptr<SegmentWriter>> SegmentTable::NewWriter(const SegmentSpec& spec,
                                                                       ReserveFunction reserve) {
  LONGLEAF_STORE_RETURN_IF_ERROR(CheckTenant(spec.tenant));
  if (spec.first_token < 0 || spec.last_token < spec.first_token || spec.expected_bytes < 0) {
    return absl::InvalidArgumentError(Message("segment of tokens ", spec.first_token, " to ",
                                              spec.last_token, ", ", spec.expected_bytes,
                                              " bytes"));
  }
  absl::StatusOr<int64_t> id = ids_.Next();
  if (!id.ok()) return id.status();
  const int64_t reserved = DiskBytes(spec.expected_bytes, value_bytes_);
  LONGLEAF_STORE_RETURN_IF_ERROR(reserve(reserved));
  SegmentInfo info;
  info.id = *id;
  info.kind = spec.kind;
  info.first_token = spec.first_token;
  info.last_token = spec.last_token;
  info.value_bytes = value_bytes_;
  return std::make_unique<SegmentFileWriter>(*this, spec.tenant, std::move(info),
                                             std::move(reserve), reserved);
}

}  // namespace longleaf::store::internal
