// Finds the pages that several items of a batch have in common. Branches of one state hold the same
// pages for the document's cores and raw tail; whatever shares a page shares what is in it, so the
// addresses alone tell.
#ifndef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_SHARE_H_
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_SHARE_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/cca_attention.h"
#include "kernels/cpu/cca_attention_block.h"

namespace longleaf::kernels {

// Pages that all members have in common, as far as they see them: the first member has every one
// of them, another may see fewer (its window has moved on, or does not reach the newest cores yet).
struct SharedPass {
  TileRange pages;
  std::vector<int64_t> members;  // indices of items, at least two, none twice
};

// The passes of a batch. An item may take part in several, over different pages. Only where it
// pays: an item joins when its rows leave half a block free, so that others fit beside it (more
// rows already use a page that they read well; a chunk of a prefill stays as it is), and a pass has
// to save some pages. Time and memory are linear in items and visible pages, but for sorting.
// Depends on which pages are equal, not on their addresses.
std::vector<SharedPass> FindSharedPasses(const AttentionPolicy& policy, const AttentionDims& dims,
                                         absl::Span<const AttentionItem> items);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_SHARE_H_
