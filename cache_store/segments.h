// Segments on the disk: writing them as files that RocksDB takes in whole, reading their values
// with every check, and taking them off the disk.
#ifndef LONGLEAF_CACHE_STORE_SEGMENTS_H_
#define LONGLEAF_CACHE_STORE_SEGMENTS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cache_store/database.h"
#include "cache_store/disk_budget.h"
#include "cache_store/id_counter.h"
#include "cache_store/mutex.h"
#include "cache_store/segment_ledger.h"
#include "cache_store/store.h"

namespace longleaf::store::internal {

// Promises `bytes` of disk under Use::kReserved, making room where that is possible.
using ReserveFunction = std::function<absl::Status(int64_t bytes)>;

// Thread-safe.
class SegmentTable {
 public:
  SegmentTable(Database& database, DiskBudget& budget, int32_t value_bytes);
  ~SegmentTable();

  // Stops deleting for good; segments still held stay on the disk.
  void Stop();

  absl::Status Load();
  // Starts the thread that takes doomed segments off the disk.
  void StartReclaiming();

  absl::StatusOr<std::unique_ptr<SegmentWriter>> NewWriter(const SegmentSpec& spec,
                                                           ReserveFunction reserve);

  absl::StatusOr<absl::Span<const std::byte>> ReadValue(const Segment& segment, int64_t index,
                                                        rocksdb::PinnableSlice& buffer);

  // Ids of all segments that have a file.
  std::set<int64_t> OnDisk();
  absl::Status RemoveFromDisk(int64_t segment_id);
  // Removes what is doomed now, after whatever another thread is removing. What fails is tried
  // again the next time.
  absl::Status Reclaim();

  // The segment as stored by someone before; counts its bytes.
  SegmentPtr Adopt(const std::string& tenant, const SegmentInfo& info);
  bool Owns(const Segment& segment) const { return segment.BelongsTo(ledger_.get()); }

 private:
  friend class SegmentFileWriter;
  void ReclaimLoop();

  Database& database_;
  DiskBudget& budget_;
  const int32_t value_bytes_;
  IdCounter ids_;
  const std::shared_ptr<SegmentLedger> ledger_;
  Mutex reclaim_mutex_;  // held while files are removed: a second caller waits for the first
  std::thread reclaimer_;
};

}  // namespace longleaf::store::internal

#endif  // LONGLEAF_CACHE_STORE_SEGMENTS_H_
