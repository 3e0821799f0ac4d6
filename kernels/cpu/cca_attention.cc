// Cuts a batch's attention into blocks and hands them to the pool, the costliest first.
#include "kernels/cpu/cca_attention.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/cpu/cca_attention_block.h"
#include "kernels/cpu/thread_pool.h"

namespace longleaf::kernels {

KeyTiles TilesSeen(const AttentionPolicy& policy, int64_t first, int64_t tokens) {
  const int64_t last = first + tokens;  // 1-based index of the last query
  const int64_t raw_first = policy.FirstRaw(first + 1) / kPageTokens;
  return {(policy.CoresVisible(last) + kPageTokens - 1) / kPageTokens, raw_first,
          (last + kPageTokens - 1) / kPageTokens - raw_first};
}

namespace {

// Key tiles that one task takes when the only block of an item is split over its keys: few rows
// make light tiles but cheap merges.
constexpr int64_t SplitTiles(int64_t rows) { return rows <= 16 ? 16 : 64; }

struct Task {
  AttentionBlock block;
  int64_t item = 0;
  int64_t group = -1;    // index of the Group it is a split of, or -1
  int64_t partial = -1;  // offset of its unfinished result
  int64_t cost() const { return (block.tile_end - block.tile_begin) * block.rows(); }
};

// The splits of one block. The thread that ends the last of them merges all, in their order, so the
// result does not depend on who that is.
struct Group {
  int64_t splits = 0;
  int64_t partial = 0;  // offset of the first unfinished result
};

class Plan {
 public:
  Plan(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
       absl::Span<const AttentionItem> items, bool may_split)
      : policy_(&policy), dims_(&dims), query_stride_(query_stride), may_split_(may_split) {
    for (size_t i = 0; i < items.size(); ++i) AddItem(items[i], static_cast<int64_t>(i));
    std::stable_sort(tasks.begin(), tasks.end(),
                     [](const Task& a, const Task& b) { return a.cost() > b.cost(); });
  }

  std::vector<Task> tasks;
  std::vector<Group> groups;
  int64_t partial_floats = 0;

 private:
  void AddItem(const AttentionItem& item, int64_t index) {
    const int64_t most = RowsThatFit(dims_->head_dim);
    if (item.rows <= most) {
      if (item.rows > 0) AddRows(item, index, 0, item.rows, may_split_);
      return;
    }
    // Blocks end on page boundaries: the fewest edge tiles.
    for (int64_t row = 0; row < item.rows;) {
      const int64_t end = (item.first_token + row) / most * most + most;
      const int64_t tokens = std::min(end - item.first_token, item.rows) - row;
      AddRows(item, index, row, tokens, false);
      row += tokens;
    }
  }

  void AddRows(const AttentionItem& item, int64_t index, int64_t row, int64_t tokens, bool split) {
    const int64_t share = dims_->query_heads / dims_->kv_heads;
    const int64_t at_once = std::clamp<int64_t>(RowsThatFit(dims_->head_dim) / tokens, 1, share);
    const int64_t tiles = TilesSeen(*policy_, item.first_token + row, tokens).count();
    // Depends on lengths alone, never on the number of threads.
    const int64_t most = SplitTiles(at_once * tokens);
    const int64_t splits = split ? (tiles + most - 1) / most : 1;
    for (int64_t kv_head = 0; kv_head < dims_->kv_heads; ++kv_head) {
      for (int64_t h = 0; h < share; h += at_once) {
        Task task;
        task.item = index;
        task.block = {policy_,
                      dims_,
                      &item,
                      query_stride_,
                      row,
                      tokens,
                      kv_head * share + h,
                      std::min(at_once, share - h),
                      0,
                      tiles};
        if (splits > 1) {
          task.group = static_cast<int64_t>(groups.size());
          groups.push_back({splits, partial_floats});
        }
        for (int64_t s = 0; s < splits; ++s) {
          task.block.tile_begin = tiles * s / splits;
          task.block.tile_end = tiles * (s + 1) / splits;
          if (splits > 1) {
            task.partial = partial_floats;
            partial_floats += task.block.PartialFloats();
          }
          tasks.push_back(task);
        }
      }
    }
  }

  const AttentionPolicy* policy_;
  const AttentionDims* dims_;
  int64_t query_stride_;
  bool may_split_;
};

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
  Plan plan(policy, dims, query_stride, items, /*may_split=*/true);
  AlignedFloats partials = AllocateFloats(plan.partial_floats);
  if (partials == nullptr) {  // slower without, but right
    plan = Plan(policy, dims, query_stride, items, /*may_split=*/false);
  }
  bool mass = false;
  for (const AttentionItem& item : items) mass |= item.attention_mass != nullptr && item.rows > 0;
  std::vector<float> stats;  // [items, H, 2]
  if (mass) stats.resize(items.size() * static_cast<size_t>(dims.query_heads) * 2);
  auto unfinished = std::make_unique<std::atomic<int64_t>[]>(plan.groups.size());
  for (size_t g = 0; g < plan.groups.size(); ++g) unfinished[g] = plan.groups[g].splits;

  pool.ParallelFor(static_cast<int64_t>(plan.tasks.size()), [&](int64_t index, int64_t) {
    const Task& task = plan.tasks[static_cast<size_t>(index)];
    float* row_stats = mass ? stats.data() + task.item * dims.query_heads * 2 : nullptr;
    if (task.group < 0) {
      AttendBlock(task.block, nullptr, row_stats);
      return;
    }
    AttendBlock(task.block, partials.get() + task.partial, nullptr);
    const size_t g = static_cast<size_t>(task.group);
    if (unfinished[g].fetch_sub(1, std::memory_order_acq_rel) == 1) {
      MergeBlock(task.block, plan.groups[g].splits, partials.get() + plan.groups[g].partial,
                 row_stats);
    }
  });
  if (mass) AddMass(policy, dims, query_stride, items, stats, pool);
}

}  // namespace longleaf::kernels
