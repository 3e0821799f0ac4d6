// How a batch's attention is cut into tasks, and what joins their results.
#ifndef LONGLEAF_KERNELS_CPU_CCA_ATTENTION_PLAN_H_
#define LONGLEAF_KERNELS_CPU_CCA_ATTENTION_PLAN_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/attention_policy.h"
#include "kernels/cpu/cca_attention.h"
#include "kernels/cpu/cca_attention_block.h"

namespace longleaf::kernels {

// Each (query row, head, visible key) falls to one task. Pages that several items share fall to
// tasks whose rows are gathered from all of them (cca_attention_share.h says when); long runs of
// tiles are split over several tasks.
struct AttentionPlan {
  struct Task {
    AttentionBlock block;
    int64_t item = -1;       // whose rows it writes, if it does so itself
    int64_t partial = -1;    // else: offset of its unfinished result
    int64_t first_feed = 0;  // and the merges that wait for it, in `feeds`
    int64_t feed_count = 0;
    int64_t cost() const { return (block.tile_end - block.tile_begin) * block.rows(); }
  };
  // The merge of some rows of an item: as many tasks as it has sources have to end before it.
  struct Merge {
    AttentionBlock block;
    int64_t item = -1;
    int64_t first_source = 0;
    int64_t source_count = 0;
  };

  absl::Span<const int64_t> FeedsOf(const Task& task) const {
    return {feeds.data() + task.first_feed, static_cast<size_t>(task.feed_count)};
  }
  absl::Span<const PartialRows> SourcesOf(const Merge& merge) const {
    return {sources.data() + merge.first_source, static_cast<size_t>(merge.source_count)};
  }

  std::vector<Task> tasks;
  std::vector<int64_t> order;  // of the tasks: the costliest first
  std::vector<Merge> merges;
  std::vector<int64_t> feeds;
  std::vector<PartialRows> sources;
  std::vector<TileRange> ranges;
  std::vector<GatheredToken> gathered;
  int64_t partial_floats = 0;  // memory for unfinished results
};

// Depends on lengths and on which pages are equal, never on the number of threads. The plan points
// to policy, dims and items, which outlive it. Without `may_split` it takes no memory for
// unfinished results, splits nothing and shares nothing.
AttentionPlan PlanAttention(const AttentionPolicy& policy, const AttentionDims& dims,
                            int64_t query_stride, absl::Span<const AttentionItem> items,
                            bool may_split);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_CCA_ATTENTION_PLAN_H_
