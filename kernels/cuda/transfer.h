// Canonical bytes (backend.h) from and to device pages, on any threads, beside the steps.
//
// A range is cut into chunks. For each one a kernel packs the rows into staging memory of the
// device, a copy engine brings them to pinned memory, and the calling thread copies them to their
// place; an import goes the other way. Two chunks of a call are under way at a time, each on a
// stream of its own, so that the host, the copy engine and the main stream's kernels overlap.
//
// Who waits for what:
// - An export waits for the point behind the state's last committed step, not for steps since.
//   While it runs, its caller keeps the state, the state its pages.
// - An import waits for the point that PrepareImport made, behind whatever used its pages before.
//   It returns when the bytes lie in the pages: work put into the main stream afterwards sees them.
// - Nothing of a call is under way on the device when it has returned, failed or not.
#ifndef LONGLEAF_KERNELS_CUDA_TRANSFER_H_
#define LONGLEAF_KERNELS_CUDA_TRANSFER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_state.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/stream_points.h"
#include "kernels/mutex.h"

namespace longleaf::kernels::cuda {

// Thread-safe.
class Transfer {
 public:
  // For states of the pool with these points, on the current device. RESOURCE_EXHAUSTED.
  static absl::StatusOr<std::unique_ptr<Transfer>> Create(StreamPoints* points);
  // Requires that no call is under way.
  ~Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // To be called by the owner of the states when those of a step have been committed.
  void StepCommitted() { points_->Mark(); }

  // The range has passed CheckRange, and an exported layer is ready; `out` and `in` hold
  // 2 * count * heads * row_bytes() bytes, possibly unaligned. An import writes to the pages of
  // PrepareImport, and to its range alone. RESOURCE_EXHAUSTED, or the device's error; what `out` or
  // the range hold then is undefined.
  absl::Status Export(const CudaState& state, int64_t layer, StatePart part, int64_t first,
                      int64_t count, absl::Span<std::byte> out);
  absl::Status Import(const CudaState& state, int64_t layer, StatePart part, int64_t first,
                      int64_t count, absl::Span<const std::byte> in);

 private:
  // Where one chunk is under way.
  struct Slot {
    // Makes room for a chunk of `bytes`. Requires that none is under way.
    absl::Status Reserve(int64_t bytes);

    Stream stream;
    DeviceMemory device;  // as long as `pinned`
    PinnedMemory pinned;
  };
  using Lane = std::array<Slot, 2>;  // what one call uses

  // Concurrent calls. One thread copies some 10 GB/s, the link moves 25 or 50.
  static constexpr int kMostLanes = 8;

  Transfer(StreamPoints* points, int device) : points_(points), device_(device) {}

  static absl::StatusOr<std::unique_ptr<Lane>> MakeLane();
  // A lane for the calling thread alone; waits while all are taken.
  absl::StatusOr<std::unique_ptr<Lane>> TakeLane() ABSL_LOCKS_EXCLUDED(mutex_);
  void GiveBack(std::unique_ptr<Lane> lane) ABSL_LOCKS_EXCLUDED(mutex_);
  // Runs body(lane) with a lane whose streams wait for `point`, and waits for them.
  template <typename Body>
  absl::Status WithLane(int64_t point, const Body& body);

  StreamPoints* const points_;
  const int device_;  // the ordinal

  Mutex mutex_;
  CondVar given_back_;
  std::vector<std::unique_ptr<Lane>> idle_ ABSL_GUARDED_BY(mutex_);
  int lanes_ ABSL_GUARDED_BY(mutex_) = 0;  // idle and taken
  int most_lanes_ ABSL_GUARDED_BY(mutex_) = kMostLanes;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_TRANSFER_H_
