// Pages of attention state. A page's size and reference count lie in the cache line before it.
#include "kernels/cpu/page_pool.h"

#include <algorithm>
#include <new>

#include "kernels/aligned.h"

namespace longleaf::kernels {
namespace {

struct Header {
  int64_t bytes;
  int64_t references;
};
constexpr int64_t kHeaderBytes = 64;
static_assert(sizeof(Header) <= kHeaderBytes);

Header& HeaderOf(std::byte* page) { return *reinterpret_cast<Header*>(page - kHeaderBytes); }
const Header& HeaderOf(const std::byte* page) {
  return *reinterpret_cast<const Header*>(page - kHeaderBytes);
}
void Free(std::byte* page) { FreeAligned()(page - kHeaderBytes); }

}  // namespace

PagePool::~PagePool() {
  for (auto& [bytes, pages] : free_pages_) {
    for (std::byte* page : pages) Free(page);
  }
}

std::byte* PagePool::Take(int64_t bytes) {
  if (!Fits(bytes)) return nullptr;
  std::byte* page = nullptr;
  const auto same_size = free_pages_.find(bytes);
  if (same_size != free_pages_.end() && !same_size->second.empty()) {
    page = same_size->second.back();
    same_size->second.pop_back();
    free_bytes_ -= bytes;
  } else {
    Trim(bytes);
    std::byte* const memory = AllocateBytes(kHeaderBytes + bytes).release();
    if (memory == nullptr) return nullptr;
    new (memory) Header{bytes, 0};
    page = memory + kHeaderBytes;
  }
  HeaderOf(page).references = 1;
  used_bytes_ += bytes;
  if (poison_) std::fill_n(page, bytes, std::byte{0xff});
  return page;
}

void PagePool::Share(std::byte* page) { ++HeaderOf(page).references; }

bool PagePool::IsShared(const std::byte* page) { return HeaderOf(page).references > 1; }

void PagePool::Release(std::byte* page) {
  Header& header = HeaderOf(page);
  if (--header.references > 0) return;
  used_bytes_ -= header.bytes;
  free_bytes_ += header.bytes;
  free_pages_[header.bytes].push_back(page);
}

void PagePool::Trim(int64_t bytes) {
  for (auto& [page_bytes, pages] : free_pages_) {
    while (!pages.empty() && free_bytes_ > capacity_bytes_ - used_bytes_ - bytes) {
      Free(pages.back());
      pages.pop_back();
      free_bytes_ -= page_bytes;
    }
  }
}

}  // namespace longleaf::kernels
