#include "kernels/cpu/cca_attention_plan.h"

#include <algorithm>
#include <utility>

#include "kernels/cpu/cca_attention_share.h"

namespace longleaf::kernels {

namespace {

// Key tiles that one task takes when a block is split over its keys: few rows make light tiles but
// cheap merges.
constexpr int64_t SplitTiles(int64_t rows) { return rows <= 16 ? 16 : 64; }
// Of a shared pass, whose rows are many: its tasks are the largest of a step, and threads wait for
// each other at its end. Merging a row costs as much as a sixteenth of a tile or less. Bounded, for
// the memory of the partial results.
constexpr int64_t PassSplits(int64_t tiles) { return std::min<int64_t>((tiles + 15) / 16, 32); }

class Planner {
 public:
  Planner(const AttentionPolicy& policy, const AttentionDims& dims, int64_t query_stride,
          absl::Span<const AttentionItem> items, bool may_split)
      : policy_(policy),
        dims_(dims),
        query_stride_(query_stride),
        items_(items),
        may_split_(may_split),
        share_(dims.query_heads / dims.kv_heads),
        most_rows_(RowsThatFit(dims.head_dim)) {}

  AttentionPlan Run() {
    const std::vector<SharedPass> passes =
        may_split_ ? FindSharedPasses(policy_, dims_, items_) : std::vector<SharedPass>();
    shared_.resize(passes.empty() ? 0 : items_.size());
    first_merge_.assign(items_.size(), -1);
    for (const SharedPass& pass : passes) AddPass(pass);
    for (size_t i = 0; i < items_.size(); ++i) {
      const int64_t index = static_cast<int64_t>(i);
      if (first_merge_[i] >= 0) {
        AddRest(index, shared_[i]);
      } else if (items_[i].rows > 0) {
        AddItem(index);
      }
    }
    Finish();
    return std::move(plan_);
  }

 private:
  // Of plan_.ranges, for one task or more.
  struct Ranges {
    size_t first = 0;
    size_t count = 0;
    int64_t tiles = 0;
  };
  struct Edge {  // from a task to a merge
    int64_t merge;
    PartialRows source;
  };

  Ranges AddRanges(absl::Span<const TileRange> some) {
    Ranges ranges{plan_.ranges.size(), 0, 0};
    for (const TileRange& range : some) {
      if (range.count() <= 0) continue;
      plan_.ranges.push_back(range);
      ++ranges.count;
      ranges.tiles += range.count();
    }
    return ranges;
  }

  const AttentionItem& Item(int64_t index) const { return items_[static_cast<size_t>(index)]; }

  // Rows of an item, for no heads and no tiles yet.
  AttentionBlock RowsOf(int64_t index, int64_t row, int64_t tokens) const {
    const AttentionItem& item = Item(index);
    AttentionBlock block;
    block.policy = &policy_;
    block.dims = &dims_;
    block.item = &item;
    block.core_pages = item.core_pages;
    block.raw_pages = item.raw_pages;
    block.query_stride = query_stride_;
    block.row = row;
    block.tokens = tokens;
    block.first_position = item.first_token + row;
    block.last_position = block.first_position + tokens - 1;
    return block;
  }

  // Cuts `block` into `splits` tasks with partial results; feed(source) hands each on.
  template <typename Feed>
  void AddPartials(AttentionBlock block, const Ranges& ranges, size_t gathered, int64_t splits,
                   const Feed& feed) {
    for (int64_t s = 0; s < splits; ++s) {
      block.tile_begin = ranges.tiles * s / splits;
      block.tile_end = ranges.tiles * (s + 1) / splits;
      AttentionPlan::Task task;
      task.block = block;
      task.partial = plan_.partial_floats;
      task.first_feed = static_cast<int64_t>(edges_.size());
      feed(PartialRows{task.partial, block.tokens, block.head, block.heads, 0});
      task.feed_count = static_cast<int64_t>(edges_.size()) - task.first_feed;
      plan_.partial_floats += block.PartialFloats();
      AddTask(task, ranges, gathered);
    }
  }

  void AddTask(const AttentionPlan::Task& task, const Ranges& ranges, size_t gathered) {
    plan_.tasks.push_back(task);
    plan_.tasks.back().block.range_count = static_cast<int64_t>(ranges.count);
    first_range_.push_back(ranges.first);
    first_gathered_.push_back(gathered);
  }

  // ---- items of their own

  void AddItem(int64_t index) {
    const AttentionItem& item = Item(index);
    if (item.rows <= most_rows_) {
      AddRows(index, 0, item.rows, may_split_);
      return;
    }
    // Blocks end on page boundaries: the fewest edge tiles.
    for (int64_t row = 0; row < item.rows;) {
      const int64_t end = (item.first_token + row) / most_rows_ * most_rows_ + most_rows_;
      const int64_t tokens = std::min(end - item.first_token, item.rows) - row;
      AddRows(index, row, tokens, false);
      row += tokens;
    }
  }

  void AddRows(int64_t index, int64_t row, int64_t tokens, bool split) {
    const AttentionBlock block = RowsOf(index, row, tokens);
    const KeyTiles tiles = TilesSeen(policy_, block.first_position, tokens);
    AddHeads(
        block, index,
        AddRanges({{false, 0, tiles.core}, {true, tiles.raw_first, tiles.raw_first + tiles.raw}}),
        split, /*first_merge=*/-1);
  }

  // `block` for all heads. With `first_merge`, the item's merges for each key head wait for it.
  void AddHeads(AttentionBlock block, int64_t index, const Ranges& ranges, bool split,
                int64_t first_merge) {
    const int64_t at_once = std::clamp<int64_t>(most_rows_ / block.tokens, 1, share_);
    // Depends on lengths alone, never on the number of threads.
    const int64_t most = SplitTiles(at_once * block.tokens);
    const int64_t splits = split ? (ranges.tiles + most - 1) / most : 1;
    for (; block.head < dims_.query_heads; block.head += block.heads) {
      block.heads = std::min(at_once, share_ - block.head % share_);
      if (splits > 1 || first_merge >= 0) {
        const int64_t merge =
            first_merge >= 0 ? first_merge + block.head / share_ : AddMerge(block, index);
        AddPartials(block, ranges, 0, splits, [&](const PartialRows& source) {
          edges_.push_back({merge, source});
        });
        continue;
      }
      AttentionPlan::Task task;
      task.block = block;
      task.block.tile_end = ranges.tiles;
      task.item = index;
      AddTask(task, ranges, 0);
    }
  }

  int64_t AddMerge(const AttentionBlock& block, int64_t index) {
    plan_.merges.push_back({block, index, 0, 0});
    return static_cast<int64_t>(plan_.merges.size()) - 1;
  }

  // ---- items that share pages: one merge for each key head, fed by passes and by their own pages

  void AddPass(const SharedPass& pass) {
    int64_t tokens = 0;
    for (const int64_t index : pass.members) {
      tokens += Item(index).rows;
      shared_[static_cast<size_t>(index)].push_back(pass.pages);
      int64_t& first_merge = first_merge_[static_cast<size_t>(index)];
      if (first_merge >= 0) continue;
      AttentionBlock block = RowsOf(index, 0, Item(index).rows);
      block.heads = share_;
      first_merge = static_cast<int64_t>(plan_.merges.size());
      for (; block.head < dims_.query_heads; block.head += share_) AddMerge(block, index);
    }
    // As few blocks as hold all rows, of about the same height; members stay whole.
    const int64_t heads = dims_.query_heads / (pass.pages.raw ? dims_.kv_heads : dims_.core_heads);
    const int64_t most = most_rows_ / heads;
    const int64_t blocks = (tokens + most - 1) / most;
    const int64_t fair = (tokens + blocks - 1) / blocks;
    const Ranges ranges = AddRanges({&pass.pages, 1});
    for (size_t from = 0; from < pass.members.size();) {
      size_t to = from;
      int64_t height = 0;
      while (to < pass.members.size() && height < fair) {
        const int64_t more = Item(pass.members[to]).rows;
        if (height + more > most) break;
        height += more;
        ++to;
      }
      AddGathered(pass, absl::MakeConstSpan(pass.members).subspan(from, to - from), heads, height,
                  ranges);
      from = to;
    }
  }

  void AddGathered(const SharedPass& pass, absl::Span<const int64_t> members, int64_t heads,
                   int64_t tokens, const Ranges& ranges) {
    const AttentionItem& leader = Item(pass.members.front());
    AttentionBlock block;
    block.policy = &policy_;
    block.dims = &dims_;
    block.core_pages = leader.core_pages;
    block.raw_pages = leader.raw_pages;
    block.tokens = tokens;
    block.heads = heads;
    const size_t gathered = plan_.gathered.size();
    for (const int64_t index : members) {
      const AttentionItem& item = Item(index);
      for (int64_t row = 0; row < item.rows; ++row) {
        plan_.gathered.push_back({item.query + row * query_stride_, item.first_token + row});
      }
    }
    const auto [first, last] = std::minmax_element(
        plan_.gathered.begin() + static_cast<std::ptrdiff_t>(gathered), plan_.gathered.end(),
        [](const GatheredToken& a, const GatheredToken& b) { return a.position < b.position; });
    block.first_position = first->position;
    block.last_position = last->position;
    // Not null from here on; Finish tells where.
    block.gathered = plan_.gathered.data();
    for (; block.head < dims_.query_heads; block.head += heads) {
      AddPartials(block, ranges, gathered, PassSplits(ranges.tiles), [&](PartialRows source) {
        for (const int64_t index : members) {
          edges_.push_back(
              {first_merge_[static_cast<size_t>(index)] + block.head / share_, source});
          source.token += Item(index).rows;
        }
      });
    }
  }

  // What no pass reads for the item.
  void AddRest(int64_t index, std::vector<TileRange>& shared) {
    std::sort(shared.begin(), shared.end(),
              [](const TileRange& a, const TileRange& b) { return a.begin < b.begin; });
    const AttentionBlock block = RowsOf(index, 0, Item(index).rows);
    const KeyTiles tiles = TilesSeen(policy_, block.first_position, block.tokens);
    std::vector<TileRange> rest;
    for (const bool raw : {false, true}) {
      int64_t page = raw ? tiles.raw_first : 0;
      const int64_t end = raw ? tiles.raw_first + tiles.raw : tiles.core;
      for (const TileRange& range : shared) {
        if (range.raw != raw) continue;
        rest.push_back({raw, page, std::min(range.begin, end)});
        page = std::max(page, range.end);
      }
      rest.push_back({raw, page, end});
    }
    AddHeads(block, index, AddRanges(rest), /*split=*/true,
             first_merge_[static_cast<size_t>(index)]);
  }

  // Lays sources out by merge, and points tasks at what no longer moves.
  void Finish() {
    for (size_t t = 0; t < plan_.tasks.size(); ++t) {
      AttentionBlock& block = plan_.tasks[t].block;
      block.ranges = plan_.ranges.data() + first_range_[t];
      if (block.gathered != nullptr) block.gathered = plan_.gathered.data() + first_gathered_[t];
    }
    for (const Edge& edge : edges_) ++plan_.merges[static_cast<size_t>(edge.merge)].source_count;
    int64_t sum = 0;
    std::vector<int64_t> next;
    for (AttentionPlan::Merge& merge : plan_.merges) {
      merge.first_source = sum;
      next.push_back(sum);
      sum += merge.source_count;
    }
    plan_.sources.resize(edges_.size());
    for (const Edge& edge : edges_) {
      plan_.feeds.push_back(edge.merge);
      plan_.sources[static_cast<size_t>(next[static_cast<size_t>(edge.merge)]++)] = edge.source;
    }
    for (size_t t = 0; t < plan_.tasks.size(); ++t) plan_.order.push_back(static_cast<int64_t>(t));
    std::stable_sort(plan_.order.begin(), plan_.order.end(), [&](int64_t a, int64_t b) {
      return plan_.tasks[static_cast<size_t>(a)].cost() >
             plan_.tasks[static_cast<size_t>(b)].cost();
    });
  }

  const AttentionPolicy& policy_;
  const AttentionDims& dims_;
  const int64_t query_stride_;
  const absl::Span<const AttentionItem> items_;
  const bool may_split_;
  const int64_t share_;
  const int64_t most_rows_;

  AttentionPlan plan_;
  std::vector<Edge> edges_;
  std::vector<size_t> first_range_;             // of each task
  std::vector<size_t> first_gathered_;          // of each task
  std::vector<int64_t> first_merge_;            // of each item in a pass; else -1
  std::vector<std::vector<TileRange>> shared_;  // of each item: the pages of its passes
};

}  // namespace

AttentionPlan PlanAttention(const AttentionPolicy& policy, const AttentionDims& dims,
                            int64_t query_stride, absl::Span<const AttentionItem> items,
                            bool may_split) {
  return Planner(policy, dims, query_stride, items, may_split).Run();
}

}  // namespace longleaf::kernels
