// Numbered points of the backend's main stream. A state remembers the point behind its last write;
// threads that move states on streams of their own let those wait for that point, and not for the
// steps that have been put into the main stream since.
#ifndef LONGLEAF_KERNELS_CUDA_STREAM_POINTS_H_
#define LONGLEAF_KERNELS_CUDA_STREAM_POINTS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "kernels/cuda/runtime.h"
#include "kernels/mutex.h"

namespace longleaf::kernels::cuda {

// Thread-safe.
class StreamPoints {
 public:
  // Point 0 lies before all work. The stream outlives this.
  explicit StreamPoints(cudaStream_t stream) : stream_(stream) {}
  StreamPoints(const StreamPoints&) = delete;
  StreamPoints& operator=(const StreamPoints&) = delete;

  cudaStream_t stream() const { return stream_; }
  // The number of the next point.
  int64_t next() const;
  // Makes it: behind everything that the main stream has been given. An error is kept for whoever
  // waits, and for status().
  int64_t Mark();
  // `stream` goes on only when `point` has been reached: it, or a later one when many have been
  // made since. INTERNAL when there is no such point yet; the error of a Mark that failed.
  absl::Status Wait(int64_t point, cudaStream_t stream) const;
  // The first error of Mark.
  absl::Status status() const;

 private:
  // Those of the last steps. Who waits for an older one waits for the oldest of these.
  static constexpr int64_t kKept = 16;

  absl::Status Record(int64_t point) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const cudaStream_t stream_;
  mutable Mutex mutex_;
  int64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  std::array<std::optional<Event>, kKept> events_ ABSL_GUARDED_BY(mutex_);  // point p: p % kKept
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_STREAM_POINTS_H_
