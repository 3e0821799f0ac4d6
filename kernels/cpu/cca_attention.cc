// Hands the tasks of a batch's attention to the pool. Whoever ends the last task that a merge waits
// for does the merge, over its sources in their fixed order, so the result does not depend on who
// that is.
#include "kernels/cpu/cca_attention.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/cpu/cca_attention_block.h"
#include "kernels/cpu/cca_attention_plan.h"
#include "kernels/cpu/thread_pool.h"

namespace longleaf::kernels {
namespace {

// Second pass over the last rows of the items that want to know where they looked.
void AddMass(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
             absl::Span<const AttentionItem> items, const std::vector<float>& stats,
             ThreadPool& pool) {
  struct MassTask {
    int64_t item;
    int64_t tile;
  };
  std::vector<MassTask> tasks;
  for (int64_t i = 0; i < static_cast<int64_t>(items.size()); ++i) {
    const AttentionItem& item = items[static_cast<size_t>(i)];
    if (item.attention_mass == nullptr || item.rows == 0) continue;
    const int64_t count = TilesSeen(policy, item.first_token + item.rows - 1, 1).count();
    for (int64_t tile = 0; tile < count; ++tile) tasks.push_back({i, tile});
  }
  pool.ParallelFor(static_cast<int64_t>(tasks.size()), [&](int64_t task, int64_t) {
    const auto [item, tile] = tasks[static_cast<size_t>(task)];
    AddTileMass(policy, dims, query_stride, items[static_cast<size_t>(item)], tile,
                stats.data() + item * dims.query_heads * 2);
  });
}

}  // namespace

void CcaAttention(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
                  absl::Span<const AttentionItem> items, ThreadPool& pool) {
  AttentionPlan plan = PlanAttention(policy, dims, query_stride, items, /*may_split=*/true);
  const AlignedFloats partials = AllocateFloats(plan.partial_floats);
  if (partials == nullptr) {  // slower without, but right
    plan = PlanAttention(policy, dims, query_stride, items, /*may_split=*/false);
  }
  bool mass = false;
  for (const AttentionItem& item : items) mass |= item.attention_mass != nullptr && item.rows > 0;
  std::vector<float> stats;  // [items, H, 2]
  if (mass) stats.resize(items.size() * static_cast<size_t>(dims.query_heads) * 2);
  const auto stats_of = [&](int64_t item) {
    return mass ? stats.data() + item * dims.query_heads * 2 : nullptr;
  };
  const auto missing = std::make_unique<std::atomic<int64_t>[]>(plan.merges.size());
  for (size_t m = 0; m < plan.merges.size(); ++m) missing[m] = plan.merges[m].source_count;

  pool.ParallelFor(static_cast<int64_t>(plan.tasks.size()), [&](int64_t index, int64_t) {
    const AttentionPlan::Task& task =
        plan.tasks[static_cast<size_t>(plan.order[static_cast<size_t>(index)])];
    if (task.partial < 0) {
      AttendBlock(task.block, nullptr, stats_of(task.item));
      return;
    }
    AttendBlock(task.block, partials.get() + task.partial, nullptr);
    for (const int64_t m : plan.FeedsOf(task)) {
      if (missing[static_cast<size_t>(m)].fetch_sub(1, std::memory_order_acq_rel) != 1) continue;
      const AttentionPlan::Merge& merge = plan.merges[static_cast<size_t>(m)];
      MergeBlock(merge.block, plan.SourcesOf(merge), partials.get(), stats_of(merge.item));
    }
  });
  if (mass) AddMass(policy, dims, query_stride, items, stats, pool);
}

}  // namespace longleaf::kernels
