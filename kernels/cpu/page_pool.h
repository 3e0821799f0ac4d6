// The memory of attention states: refcounted pages under one hard limit.
//
// A page is named by its bytes, 64-byte aligned. Freed pages are kept for the next user of the
// same size and handed out as they are, not cleared: readers never look past what a state has
// written. For one thread at a time.
#ifndef LONGLEAF_KERNELS_CPU_PAGE_POOL_H_
#define LONGLEAF_KERNELS_CPU_PAGE_POOL_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace longleaf::kernels {

class PagePool {
 public:
  // With `poison`, pages are handed out full of one bits, NaN in every float type: tests see by it
  // that nothing unwritten is read.
  PagePool(int64_t capacity_bytes, bool poison)
      : capacity_bytes_(capacity_bytes), poison_(poison) {}
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // A page of `bytes` bytes with one reference, or null when the limit or the machine's memory is
  // reached.
  std::byte* Take(int64_t bytes);
  static void Share(std::byte* page);           // one more reference
  static bool IsShared(const std::byte* page);  // more than one reference
  void Release(std::byte* page);                // one reference less; the last frees the page

  int64_t capacity_bytes() const { return capacity_bytes_; }
  int64_t used_bytes() const { return used_bytes_; }
  // Taken from the machine: pages in use, and free ones kept for the next. Within the capacity.
  int64_t pool_bytes() const { return used_bytes_ + free_bytes_; }
  // Whether `bytes` more stay within the limit.
  bool Fits(int64_t bytes) const { return bytes <= capacity_bytes_ - used_bytes_; }

 private:
  // Gives pages that nobody uses back to the machine until `bytes` more fit into the limit.
  void Trim(int64_t bytes);

  const int64_t capacity_bytes_;
  const bool poison_;
  int64_t used_bytes_ = 0;
  int64_t free_bytes_ = 0;                                 // used_ + free_ <= capacity
  std::map<int64_t, std::vector<std::byte*>> free_pages_;  // by bytes of a page
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_PAGE_POOL_H_
