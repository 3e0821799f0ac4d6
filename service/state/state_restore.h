// A stored state on its way into memory, layer by layer and by several readers, so that a step can
// use the first layers while the last are still on the disk.
#ifndef LONGLEAF_SERVICE_STATE_STATE_RESTORE_H_
#define LONGLEAF_SERVICE_STATE_STATE_RESTORE_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cache_store/store.h"
#include "kernels/backend.h"
#include "kernels/mutex.h"
#include "model/state_codec.h"

namespace longleaf::service {

// INVALID_ARGUMENT when a snapshot's segments are not those of `layout`, by number and length.
absl::Status CheckSegments(const store::Snapshot& snapshot, const model::SnapshotLayout& layout);

// One restore. Thread-safe: any number of threads Read(), any may ask and Wait().
//
// A segment is read from its beginning to its end by one thread at a time, a layer at a turn, and
// the segment that is furthest behind comes next: layer l of all segments before layer l+1 of any,
// whatever the number of readers. Every value is verified (length, identity, XXH3) before anything
// of it reaches the state; the others may still turn out damaged, so what a step makes of the first
// layers may be told to nobody before Wait(layers).
//
// Memory: for each reader one value (at most 1 MiB) and, where a block does not lie in one value,
// that block; for each segment between two turns the value it stopped in, for at most
// kMostKeptValues segments. The others read that value again when their turn comes: at most one
// value more for a layer of a segment.
class StateRestore {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int64_t kMostKeptValues = 32;

  // Shows value `value` of segment `segment` (the last is the tail), verified; valid until the next
  // use of `buffer`. Called by several threads at once, each with a buffer of its own.
  using ReadValue = std::function<absl::StatusOr<absl::Span<const std::byte>>(
      int64_t segment, int64_t value, store::ValueBuffer& buffer)>;

  // From the store. INVALID_ARGUMENT as CheckSegments says, or for a state that does not fit.
  // `state` has been prepared for `layout` (model::PrepareRestore). It, the backend and the store
  // outlive Finish(); the object itself may live longer, and then touches none of them.
  static absl::StatusOr<std::shared_ptr<StateRestore>> Create(store::Store& store,
                                                              kernels::Backend& backend,
                                                              store::SnapshotPtr snapshot,
                                                              const model::SnapshotLayout& layout,
                                                              kernels::State& state);
  // From anywhere.
  static absl::StatusOr<std::shared_ptr<StateRestore>> Create(ReadValue read,
                                                              kernels::Backend& backend,
                                                              const model::SnapshotLayout& layout,
                                                              kernels::State& state);
  StateRestore(const StateRestore&) = delete;
  StateRestore& operator=(const StateRestore&) = delete;

  // Helps until there is nothing left for this thread: all is read, or others are at what is left,
  // or it has failed or was cancelled. Returns at once when called late.
  void Read();
  // Read(), and then waits for the readers that are still at it: afterwards no thread touches the
  // state, nor will. Needs no other thread to begin. Returns how it ended: OK, the first error, or
  // CANCELLED. Errors: DATA_LOSS when stored bytes are not what they should be, others of the
  // store; the state is of no use then.
  absl::Status Finish();
  // Makes all readers stop before their next block, Finish() and Wait() return CANCELLED. No effect
  // after the end.
  void Cancel();

  // Waits until `layer` is ready (OK), the restore has failed (its error), or `deadline` has passed
  // (DEADLINE_EXCEEDED). Layer shape().layers means: everything was read and verified. Does not
  // read itself.
  absl::Status Wait(int64_t layer, Clock::time_point deadline);
  // Wait(shape().layers) would return OK.
  bool Finished() const;

 private:
  // A segment or the tail. While `busy` it belongs to the reader that set it, without the mutex.
  struct Stream {
    Stream(int64_t number, model::SegmentDecoder of) : segment(number), decoder(std::move(of)) {}

    const int64_t segment;
    model::SegmentDecoder decoder;
    int64_t value = 0;                  // the value that the next byte is in
    size_t offset = 0;                  // of that byte
    store::ValueBuffer buffer;          // holds `shown`
    absl::Span<const std::byte> shown;  // the whole value, when it is held
    bool kept = false;                  // counted in kept_values_
    bool busy = false;
  };

  StateRestore(ReadValue read, int64_t layers, std::vector<Stream> streams);
  absl::Status ReadLayer(Stream& stream, std::vector<std::byte>& scratch);
  absl::StatusOr<absl::Span<const std::byte>> Next(Stream& stream, size_t most);
  static void LeaveValueAtItsEnd(Stream& stream);
  Stream* Take() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Return(Stream& stream, absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Ended() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !status_.ok() || missing_.back() == 0;
  }

  const int64_t layers_;
  std::atomic<bool> stop_{false};  // status_ is not OK: seen between blocks
  mutable Mutex mutex_;
  CondVar changed_;
  ReadValue read_;  // set until the end; called by readers without the mutex
  std::vector<Stream> streams_ ABSL_GUARDED_BY(mutex_);  // empty after the end
  // Turns until a layer is ready, for each; until all are: [layers].
  std::vector<int64_t> missing_ ABSL_GUARDED_BY(mutex_);
  int64_t reading_ ABSL_GUARDED_BY(mutex_) = 0;  // readers inside a turn
  int64_t kept_values_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_STATE_STATE_RESTORE_H_
