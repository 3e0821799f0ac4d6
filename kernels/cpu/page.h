// The layout of one page of attention state in CPU memory.
//
// A page holds kPageTokens consecutive core tokens or raw tokens of one layer, of `heads` heads of
// size d. Keys are transposed, so that a broadcast query element meets kPageTokens keys with unit
// stride and no horizontal sum; values are row-major, so that a broadcast softmax weight meets one
// value row. Both are contiguous per head: attention over one head streams.
//
// Types narrower than 32 bits keep the elements that one 32-bit lane of a dot product adds up side
// by side: neighbouring elements of a key's d, neighbouring tokens of a value's column.
//
//   f32   keys   [heads, d, 64]
//         values [heads, 64, d]
//   bf16  keys   [heads, d / 2, 64, 2]        element k of token t at [k / 2, t, k % 2]
//         values [heads, 32, d, 2]            element k of token t at [t / 2, k, t % 2]
//   i8    keys   [heads, ceil(d / 4), 64, 4]  element k of token t at [k / 4, t, k % 4], 0 beyond d
//         values [heads, 16, d, 4]            element k of token t at [t / 4, k, t % 4]
//         key scales   [heads, 64] f32        a key is its elements * its scale
//         value scales [heads, 64] f32        the same of a value
//
// Where a slot holds no token, or none any more, its elements and scales may be anything, also
// those that lie beside a token's. Elements of i8 are never -128.
//
// Parts follow one another, and every head of every part starts on a cache line, as the page does.
// How a row is rounded to bf16, or to i8 and a scale: kernels/state_rounding.h.
#ifndef LONGLEAF_KERNELS_CPU_PAGE_H_
#define LONGLEAF_KERNELS_CPU_PAGE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"

namespace longleaf::kernels {

inline constexpr int64_t kPageTokens = 64;

// Elements of one row that lie side by side: of a key's d, or tokens of a value's column.
constexpr int64_t PagePacking(DType dtype) {
  return dtype == DType::kI8 ? 4 : dtype == DType::kBF16 ? 2 : 1;
}

// Where the parts of a page lie, in bytes from its beginning. Requires f32, bf16 or i8, and an even
// `head_dim`.
struct PageLayout {
  DType dtype = DType::kF32;
  int64_t heads = 0;
  int64_t head_dim = 0;  // d

  constexpr int64_t bytes() const { return key_scales(heads) + (scaled() ? heads * kScales : 0); }
  constexpr int64_t keys(int64_t head) const { return head * head_keys(); }
  constexpr int64_t values(int64_t head) const { return keys(heads) + head * head_values(); }
  // Of i8 alone; for the others the end of the page.
  constexpr int64_t key_scales(int64_t head) const {
    return values(heads) + (scaled() ? head * kScales : 0);
  }
  constexpr int64_t value_scales(int64_t head) const {
    return key_scales(heads) + (scaled() ? head * kScales : 0);
  }

 private:
  static constexpr int64_t kScales = kPageTokens * 4;  // bytes of one head's
  constexpr bool scaled() const { return dtype == DType::kI8; }
  constexpr int64_t element() const {
    return dtype == DType::kI8 ? 1 : dtype == DType::kBF16 ? 2 : 4;
  }
  constexpr int64_t head_keys() const {
    const int64_t packing = PagePacking(dtype);
    return (head_dim + packing - 1) / packing * packing * kPageTokens * element();
  }
  constexpr int64_t head_values() const { return head_dim * kPageTokens * element(); }
};

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_PAGE_H_
