// Which keys a row of an attention unit sees, page by page: index arithmetic, for host and device.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_TILE_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_TILE_H_

#include <algorithm>
#include <cstdint>

#include "kernels/attention_policy.h"
#include "kernels/cuda/device_page.h"

namespace longleaf::kernels::cuda {

// What one row sees, or what all rows of a set do: core tokens 0 .. cores-1 and raw tokens
// raw_begin .. raw_end-1.
struct Sight {
  int64_t cores = 0;
  int64_t raw_begin = 0;
  int64_t raw_end = 0;

  constexpr bool Core(int64_t token) const { return token < cores; }
  constexpr bool Raw(int64_t token) const { return raw_begin <= token && token < raw_end; }
  // Whether every token of a page is seen.
  constexpr bool WholeCorePage(int64_t page) const { return (page + 1) * kPageTokens <= cores; }
  constexpr bool WholeRawPage(int64_t page) const {
    return raw_begin <= page * kPageTokens && (page + 1) * kPageTokens <= raw_end;
  }
  // Whether any is.
  constexpr bool AnyOfCorePage(int64_t page) const { return page * kPageTokens < cores; }
  constexpr bool AnyOfRawPage(int64_t page) const {
    return raw_begin < (page + 1) * kPageTokens && page * kPageTokens < raw_end;
  }
};

// What the row at 0-based token index `token` sees.
constexpr Sight SeenBy(const AttentionPolicy& policy, int64_t token) {
  return {policy.CoresVisible(token + 1), policy.FirstRaw(token + 1), token + 1};
}
// What is seen by both, and by either. Sight grows and moves forward with the token, so that what
// either sees has no gaps where the rows follow one another.
constexpr Sight Both(const Sight& a, const Sight& b) {
  return {std::min(a.cores, b.cores), std::max(a.raw_begin, b.raw_begin),
          std::min(a.raw_end, b.raw_end)};
}
constexpr Sight Either(const Sight& a, const Sight& b) {
  return {std::max(a.cores, b.cores), std::min(a.raw_begin, b.raw_begin),
          std::max(a.raw_end, b.raw_end)};
}

constexpr int64_t PagesOf(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

// The pages that hold tokens begin .. end-1, one after another: first those of cores, then of raw
// tokens. What a kernel loops over.
struct PageSequence {
  int64_t first_core = 0;
  int64_t cores = 0;  // pages
  int64_t first_raw = 0;
  int64_t raws = 0;  // pages

  constexpr int64_t size() const { return cores + raws; }
  constexpr bool IsCore(int64_t index) const { return index < cores; }
  // Index in the core or raw page table.
  constexpr int64_t Page(int64_t index) const {
    return index < cores ? first_core + index : first_raw + index - cores;
  }
};
constexpr PageSequence PagesBetween(int64_t core_begin, int64_t core_end, int64_t raw_begin,
                                    int64_t raw_end) {
  PageSequence pages;
  pages.first_core = core_begin / kPageTokens;
  pages.cores = core_begin < core_end ? PagesOf(core_end) - pages.first_core : 0;
  pages.first_raw = raw_begin / kPageTokens;
  pages.raws = raw_begin < raw_end ? PagesOf(raw_end) - pages.first_raw : 0;
  return pages;
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_TILE_H_
