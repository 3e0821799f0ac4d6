// The device memory of attention states: refcounted pages under one hard limit.
//
// Pages are cut from slabs, one cudaMalloc each. The device gives memory out in pieces of 2 MiB: a
// page of 4.1 MiB of its own would take 6, eight of them together take 34. Where a page fills its
// pieces by itself it is a slab of its own.
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
#include <set>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/stream_points.h"

namespace longleaf::kernels::cuda {

struct PageSlab;

struct DevicePage {
  std::byte* data = nullptr;  // device: [bytes], aligned to 128
  int64_t bytes = 0;
  int64_t references = 0;
  PageSlab* slab = nullptr;  // that it lies in
};

// One allocation, cut into pages of one size.
struct PageSlab {
  DeviceMemory memory;
  std::vector<DevicePage> pages;
  int64_t used = 0;  // pages that somebody has
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
  // Taken from the device: pages in use, and free ones kept for the next. Within the capacity.
  int64_t pool_bytes() const { return pool_bytes_; }
  // Whether `bytes` more stay within the limit. Take may still find no room: free pages of another
  // size cannot be given back while others of their slab are in use.
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
  // Free pages are handed out from the lowest address on, so that slabs further up become free.
  struct ByAddress {
    bool operator()(const DevicePage* a, const DevicePage* b) const { return a->data < b->data; }
  };
  // Pages of one size.
  struct Size {
    std::vector<std::unique_ptr<PageSlab>> slabs;
    std::set<DevicePage*, ByAddress> free;
  };

  // Takes more pages of a size from the device; false when there is no room.
  bool AddSlab(int64_t page_bytes, Size& size);
  bool Allocate(int64_t page_bytes, int64_t pages, Size& size);
  // Gives slabs that nobody uses back to the device until the pool and `bytes` more are within
  // `limit`. Whether any was.
  bool Trim(int64_t bytes, int64_t limit);

  int64_t capacity_bytes_;
  const bool poison_;
  StreamPoints points_;
  int64_t used_bytes_ = 0;
  int64_t pool_bytes_ = 0;
  std::map<int64_t, Size> sizes_;  // by bytes of a page
  absl::Status status_;
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_PAGE_POOL_H_
