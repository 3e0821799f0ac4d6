// Pages of attention state. A page's size and reference count lie in the cache line before it.
#include "kernels/cpu/page_pool.h"

#include <algorithm>
#include <limits>
#include <new>

#include "kernels/aligned.h"

namespace longleaf::kernels {
namespace {

struct Header {
  int64_t floats;
  int64_t references;
};
constexpr int64_t kHeaderFloats = 16;
static_assert(sizeof(Header) <= kHeaderFloats * sizeof(float));

Header& HeaderOf(float* page) { return *reinterpret_cast<Header*>(page - kHeaderFloats); }
const Header& HeaderOf(const float* page) {
  return *reinterpret_cast<const Header*>(page - kHeaderFloats);
}
int64_t BytesOf(int64_t floats) { return floats * int64_t{sizeof(float)}; }
void Free(float* page) { FreeAligned()(page - kHeaderFloats); }

}  // namespace

PagePool::~PagePool() {
  for (auto& [floats, pages] : free_pages_) {
    for (float* page : pages) Free(page);
  }
}

float* PagePool::Take(int64_t floats) {
  const int64_t bytes = BytesOf(floats);
  if (!Fits(bytes)) return nullptr;
  float* page = nullptr;
  const auto same_size = free_pages_.find(floats);
  if (same_size != free_pages_.end() && !same_size->second.empty()) {
    page = same_size->second.back();
    same_size->second.pop_back();
    free_bytes_ -= bytes;
  } else {
    Trim(bytes);
    AlignedFloats memory = AllocateFloats(kHeaderFloats + floats);
    if (memory == nullptr) return nullptr;
    page = memory.release() + kHeaderFloats;
    new (page - kHeaderFloats) Header{floats, 0};
  }
  HeaderOf(page).references = 1;
  used_bytes_ += bytes;
  if (poison_) std::fill_n(page, floats, std::numeric_limits<float>::quiet_NaN());
  return page;
}

void PagePool::Share(float* page) { ++HeaderOf(page).references; }

bool PagePool::IsShared(const float* page) { return HeaderOf(page).references > 1; }

void PagePool::Release(float* page) {
  Header& header = HeaderOf(page);
  if (--header.references > 0) return;
  used_bytes_ -= BytesOf(header.floats);
  free_bytes_ += BytesOf(header.floats);
  free_pages_[header.floats].push_back(page);
}

void PagePool::Trim(int64_t bytes) {
  for (auto& [floats, pages] : free_pages_) {
    while (!pages.empty() && free_bytes_ > capacity_bytes_ - used_bytes_ - bytes) {
      Free(pages.back());
      pages.pop_back();
      free_bytes_ -= BytesOf(floats);
    }
  }
}

}  // namespace longleaf::kernels
