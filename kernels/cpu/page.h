// The layout of one page of attention state in CPU memory.
//
// A page holds kPageTokens consecutive core tokens or raw tokens of one layer. Keys are transposed,
// so that a broadcast query element meets kPageTokens keys with unit stride and no horizontal sum;
// values are row-major, so that a broadcast softmax weight meets one value row. Both are contiguous
// per head: attention over one head streams.
#ifndef LONGLEAF_KERNELS_CPU_PAGE_H_
#define LONGLEAF_KERNELS_CPU_PAGE_H_

#include <cstdint>

namespace longleaf::kernels {

inline constexpr int64_t kPageTokens = 64;

// float offsets inside a page of `heads` heads of size `d`:
//   keys [heads, d, kPageTokens], then values [heads, kPageTokens, d]
constexpr int64_t PageFloats(int64_t heads, int64_t d) { return 2 * heads * d * kPageTokens; }
constexpr int64_t PageKeyOffset(int64_t head, int64_t d) { return head * d * kPageTokens; }
constexpr int64_t PageValueOffset(int64_t heads, int64_t head, int64_t d) {
  return (heads + head) * d * kPageTokens;
}

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_PAGE_H_
