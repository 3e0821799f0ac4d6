// Pages of attention state in device memory.
#include "kernels/cuda/page_pool.h"

#include <utility>

#include "absl/status/statusor.h"

namespace longleaf::kernels::cuda {

using absl::Status;
using absl::StatusOr;

Status DevicePagePool::status() const { return status_.ok() ? points_.status() : status_; }

DevicePage* DevicePagePool::Take(int64_t bytes) {
  if (!Fits(bytes)) return nullptr;
  std::unique_ptr<DevicePage> page;
  if (const auto same_size = free_pages_.find(bytes);
      same_size != free_pages_.end() && !same_size->second.empty()) {
    page = std::move(same_size->second.back());
    same_size->second.pop_back();
    free_bytes_ -= bytes;
  } else {
    Trim(bytes, capacity_bytes_);
    page = Allocate(bytes);
    if (page == nullptr && free_bytes_ > 0) {  // somebody else has filled the device
      Trim(bytes, 0);
      page = Allocate(bytes);
    }
    if (page == nullptr) return nullptr;
  }
  if (poison_) {
    Note(Check(cudaMemsetAsync(page->data, 0xff, static_cast<size_t>(bytes), points_.stream()),
               "poisoning a page"));
  }
  page->references = 1;
  used_bytes_ += bytes;
  return page.release();
}

std::unique_ptr<DevicePage> DevicePagePool::Allocate(int64_t bytes) {
  StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(bytes);
  if (!memory.ok()) {
    if (!absl::IsResourceExhausted(memory.status())) Note(memory.status());
    return nullptr;
  }
  auto page = std::make_unique<DevicePage>();
  page->data = memory->data();
  page->bytes = bytes;
  page->memory = *std::move(memory);
  return page;
}

void DevicePagePool::Release(DevicePage* page) {
  if (--page->references > 0) return;
  used_bytes_ -= page->bytes;
  free_bytes_ += page->bytes;
  free_pages_[page->bytes].emplace_back(page);
}

void DevicePagePool::SetCapacity(int64_t bytes) {
  capacity_bytes_ = bytes;
  Trim(0, bytes);
}

void DevicePagePool::Trim(int64_t bytes, int64_t limit) {
  bool waited = false;
  for (auto& [page_bytes, pages] : free_pages_) {
    while (!pages.empty() && pool_bytes() + bytes > limit) {
      // Work that is still queued may use them.
      if (!waited) Note(Check(cudaStreamSynchronize(points_.stream()), "waiting for the device"));
      waited = true;
      pages.pop_back();
      free_bytes_ -= page_bytes;
    }
  }
}

}  // namespace longleaf::kernels::cuda
