// Pages of attention state in device memory.
#include "kernels/cuda/page_pool.h"

#include <utility>

#include "absl/status/statusor.h"

namespace longleaf::kernels::cuda {

using absl::Status;
using absl::StatusOr;

namespace {

constexpr int64_t kPiece = int64_t{2} << 20;  // what the device gives out

// As many as it takes that less than a thirty-second is lost. Small allocations share a piece.
int64_t PagesPerSlab(int64_t page_bytes) {
  if (page_bytes < kPiece / 2) return 1;
  int64_t pages = 1;
  const auto lost = [&] { return (kPiece - pages * page_bytes % kPiece) % kPiece; };
  while (32 * lost() > pages * page_bytes) ++pages;
  return pages;
}

}  // namespace

Status DevicePagePool::status() const { return status_.ok() ? points_.status() : status_; }

DevicePage* DevicePagePool::Take(int64_t bytes) {
  if (!Fits(bytes)) return nullptr;
  Size& size = sizes_[bytes];
  if (size.free.empty() && !AddSlab(bytes, size)) return nullptr;
  DevicePage* const page = *size.free.begin();
  size.free.erase(size.free.begin());
  if (poison_) {
    Note(Check(cudaMemsetAsync(page->data, 0xff, static_cast<size_t>(bytes), points_.stream()),
               "poisoning a page"));
  }
  page->references = 1;
  ++page->slab->used;
  used_bytes_ += bytes;
  return page;
}

bool DevicePagePool::AddSlab(int64_t page_bytes, Size& size) {
  for (int64_t pages = PagesPerSlab(page_bytes);; pages = 1) {
    const int64_t bytes = pages * page_bytes;
    Trim(bytes, capacity_bytes_);
    if (bytes <= capacity_bytes_ - pool_bytes_) {
      if (Allocate(page_bytes, pages, size)) return true;
      // Somebody else has filled the device.
      if (Trim(bytes, 0) && Allocate(page_bytes, pages, size)) return true;
    }
    if (pages == 1) return false;
  }
}

bool DevicePagePool::Allocate(int64_t page_bytes, int64_t pages, Size& size) {
  StatusOr<DeviceMemory> memory = DeviceMemory::Allocate(pages * page_bytes);
  if (!memory.ok()) {
    if (!absl::IsResourceExhausted(memory.status())) Note(memory.status());
    return false;
  }
  auto slab = std::make_unique<PageSlab>();
  slab->memory = *std::move(memory);
  slab->pages.resize(static_cast<size_t>(pages));
  std::byte* data = slab->memory.data();
  for (DevicePage& page : slab->pages) {
    page = {data, page_bytes, 0, slab.get()};
    data += page_bytes;
    size.free.insert(&page);
  }
  size.slabs.push_back(std::move(slab));
  pool_bytes_ += pages * page_bytes;
  return true;
}

void DevicePagePool::Release(DevicePage* page) {
  if (--page->references > 0) return;
  --page->slab->used;
  used_bytes_ -= page->bytes;
  sizes_[page->bytes].free.insert(page);
}

void DevicePagePool::SetCapacity(int64_t bytes) {
  capacity_bytes_ = bytes;
  Trim(0, bytes);
}

bool DevicePagePool::Trim(int64_t bytes, int64_t limit) {
  bool given_back = false;
  for (auto& [page_bytes, size] : sizes_) {
    for (size_t i = size.slabs.size(); i-- > 0 && pool_bytes_ + bytes > limit;) {
      PageSlab& slab = *size.slabs[i];
      if (slab.used > 0) continue;
      // Work that is still queued may use it.
      if (!given_back) {
        Note(Check(cudaStreamSynchronize(points_.stream()), "waiting for the device"));
      }
      given_back = true;
      for (DevicePage& page : slab.pages) size.free.erase(&page);
      pool_bytes_ -= slab.memory.bytes();
      size.slabs.erase(size.slabs.begin() + static_cast<ptrdiff_t>(i));
    }
  }
  return given_back;
}

}  // namespace longleaf::kernels::cuda
