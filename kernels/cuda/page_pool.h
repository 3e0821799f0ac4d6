// The device memory of attention states: refcounted pages under one hard limit.
//
// Freed pages are kept for the next user of the same size and handed out as they are, not cleared.
// A page may be released while work that reads or writes it is still queued in the main stream:
// whoever gets it next uses it in the main stream too, behind that work, or lets another stream
// wait for a point (stream_points.h) made after it was taken.
//
// For one thread at a time, points() apart.
#ifndef LONGLEAF_KERNELS_CUDA_PAGE_POOL_H_
#define LONGLEAF_KERNELS_CUDA_PAGE_POOL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/stream_points.h"

namespace longleaf::kernels::cuda {

struct DevicePage {
  std::byte* data = nullptr;  // device: [bytes], aligned to 256
  int64_t bytes = 0;
  int64_t references = 0;
  DeviceMemory memory;  // what `data` lies in
};

class DevicePagePool {
 public:
  // With `poison`, pages are handed out full of one bits, NaN in every float type. `stream` is the
  // main stream and outlives the pool.
  DevicePagePool(int64_t capacity_bytes, bool poison, cudaStream_t stream)
      : capacity_bytes_(capacity_bytes), poison_(poison), points_(stream) {}
  // Requires that all pages have been released and that nothing uses them any more.
  ~DevicePagePool() = default;
  DevicePagePool(const DevicePagePool&) = delete;
  DevicePagePool& operator=(const DevicePagePool&) = delete;

  // A page of `bytes` bytes with one reference, or null when the limit or the device's memory is
  // reached. Its first user belongs into the main stream, or behind a point made after this call.
  DevicePage* Take(int64_t bytes);
  static void Share(DevicePage* page) { ++page->references; }
  static bool IsShared(const DevicePage* page) { return page->references > 1; }
  void Release(DevicePage* page);  // one reference less; the last frees the page

  int64_t capacity_bytes() const { return capacity_bytes_; }
  int64_t used_bytes() const { return used_bytes_; }
  // Taken from the device: pages in use, and free ones kept for the next.
  int64_t pool_bytes() const { return used_bytes_ + free_bytes_; }
  // Whether `bytes` more stay within the limit.
  bool Fits(int64_t bytes) const { return bytes <= capacity_bytes_ - used_bytes_; }
  // A limit below used_bytes() takes nothing away from anybody; Take gives nothing until it is
  // kept.
  void SetCapacity(int64_t bytes);

  // Where the main stream stands. Any thread.
  StreamPoints& points() { return points_; }
  // The first error of the device that nobody could be told of when it happened (CommitStep has no
  // Status). The backend asks before it begins a step.
  absl::Status status() const;
  // Keeps such an error.
  void Note(const absl::Status& status) { status_.Update(status); }

 private:
  using Pages = std::vector<std::unique_ptr<DevicePage>>;

  // Gives pages that nobody uses back to the device until pages in use and free ones, and `bytes`
  // more, are within `limit`.
  void Trim(int64_t bytes, int64_t limit);
  std::unique_ptr<DevicePage> Allocate(int64_t bytes);

  int64_t capacity_bytes_;
  const bool poison_;
  StreamPoints points_;
  int64_t used_bytes_ = 0;
  int64_t free_bytes_ = 0;
  std::map<int64_t, Pages> free_pages_;  // by bytes of a page
  absl::Status status_;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_PAGE_POOL_H_
