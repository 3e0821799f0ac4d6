// Rows of one head, as the canonical bytes have them, into the slots of a page and out of them: a
// transposition of keys, an interleaving of values. Nothing is rounded here.
#ifndef LONGLEAF_KERNELS_CPU_PAGE_ROWS_H_
#define LONGLEAF_KERNELS_CPU_PAGE_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/page.h"

namespace longleaf::kernels {

// Slots slot .. slot + count - 1 of one head in a page.
struct PageSlots {
  PageLayout layout;
  std::byte* page = nullptr;
  int64_t head = 0;
  int64_t slot = 0;
  int64_t count = 0;
};

// Keys or values in memory, possibly unaligned: [count] rows of d elements, and a scale for each
// under i8.
template <typename Byte>  // std::byte, or const std::byte
struct MemoryRows {
  Byte* elements = nullptr;
  int64_t stride = 0;      // bytes from row to row
  Byte* scales = nullptr;  // f32
  int64_t scale_stride = 0;
};

// Put* write to those elements and scales alone, by whole elements: several threads may write to
// different slots of a page at once.
void PutKeys(const PageSlots& to, const MemoryRows<const std::byte>& from);
void PutValues(const PageSlots& to, const MemoryRows<const std::byte>& from);
void TakeKeys(const PageSlots& from, const MemoryRows<std::byte>& to);
void TakeValues(const PageSlots& from, const MemoryRows<std::byte>& to);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_PAGE_ROWS_H_
