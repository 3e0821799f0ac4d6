// The plan of a step's attention: prefill tiles, decode chunks (attention_chunks.h), launches.
#include "kernels/cuda/attention_plan.h"

#include <tuple>
#include <utility>

#include "kernels/cuda/attention_chunks.h"

namespace longleaf::kernels::cuda {
namespace {

// A split of prefill tiles leaves each part this many pages at least, and makes at most so many.
constexpr int64_t kLeastSplitPages = 8;
constexpr int64_t kMostSplits = 8;

// A unit, and the launch it belongs to.
struct Draft {
  AttentionUnit unit;
  int32_t pack = 1;
  bool prefill = false;

  int32_t Tile() const {
    const int32_t slots = unit.rows * pack;
    if (prefill || slots > 64) return kUnitSlots;
    return std::max(16, static_cast<int32_t>(std::bit_ceil(static_cast<uint32_t>(slots))));
  }
  int64_t Pages() const {
    return PagesBetween(unit.core_begin, unit.core_end, unit.raw_begin, unit.raw_end).size();
  }
};

// One of the partial results of a row, and where it belongs among them.
struct Part {
  bool raw = false;
  int64_t begin = 0;
  int32_t partial = 0;
};

// Counts as they are launched: at most half more.
int32_t RoundUp(size_t count) {
  const auto n = static_cast<int32_t>(count);
  if (n <= 2) return n;
  const int32_t step = static_cast<int32_t>(std::bit_floor(static_cast<uint32_t>(n))) / 2;
  return (n + step - 1) / step * step;
}

class Planner {
 public:
  Planner(const StepShape& shape, Rows which, absl::Span<const PlanItem> items, int multiprocessors)
      : shape_(shape), items_(items), multiprocessors_(multiprocessors) {
    int32_t out = 0;
    for (const PlanItem& item : items) {
      const int32_t wanted = which == Rows::kAll ? item.rows : item.outputs;
      wanted_.push_back({item.rows - wanted, wanted, out});
      out += wanted;
    }
    parts_.resize(static_cast<size_t>(out));
  }

  AttentionPlan Plan() && {
    std::vector<DecodeItem> decode;
    for (size_t i = 0; i < items_.size(); ++i) {
      const Wanted& wanted = wanted_[i];
      if (wanted.rows > kMostDecodeRows) {
        AddPrefill(static_cast<int32_t>(i));
      } else if (wanted.rows > 0) {
        decode.push_back({static_cast<int32_t>(i), wanted.first, wanted.rows});
      }
    }
    for (const ChunkGroup& group : GroupChunks(shape_, items_, decode)) AddGroup(group);
    AddLaunches();
    AddMerges();
    return std::move(plan_);
  }

 private:
  // The rows of an item that are answered.
  struct Wanted {
    int32_t first = 0;  // within the item
    int32_t rows = 0;
    int32_t out = 0;  // row of the result
  };

  // Lists row `r` of the wanted ones of `item`.
  Sight AddRow(int32_t item, int32_t r) {
    const PlanItem& from = items_[static_cast<size_t>(item)];
    const Wanted& wanted = wanted_[static_cast<size_t>(item)];
    const int64_t token = from.first_token + wanted.first + r;
    plan_.rows.push_back({token, from.first_row + wanted.first + r, wanted.out + r});
    return SeenBy(shape_.policy, token);
  }

  // Gives the last `rows` listed rows a partial result each.
  int32_t AddPartials(int32_t rows, bool raw, int64_t begin) {
    const int32_t first = plan_.partials;
    const size_t at = plan_.rows.size() - static_cast<size_t>(rows);
    for (int32_t r = 0; r < rows; ++r) {
      const AttentionRow& row = plan_.rows[at + static_cast<size_t>(r)];
      parts_[static_cast<size_t>(row.out)].push_back({raw, begin, first + r});
    }
    plan_.partials += rows;
    return first;
  }

  void AddPrefill(int32_t item) {
    const int32_t rows = wanted_[static_cast<size_t>(item)].rows;
    const int32_t tiles = (rows + kUnitSlots - 1) / kUnitSlots;
    const int64_t blocks = int64_t{tiles} * shape_.query_heads;
    const int64_t splits =
        blocks >= multiprocessors_
            ? 1
            : std::min(kMostSplits, (2 * int64_t{multiprocessors_} + blocks - 1) / blocks);
    for (int32_t begin = 0; begin < rows; begin += kUnitSlots) {
      AddTile(item, begin, std::min(kUnitSlots, rows - begin), splits);
    }
  }

  void AddTile(int32_t item, int32_t begin, int32_t rows, int64_t splits) {
    const auto first_row = static_cast<int32_t>(plan_.rows.size());
    Sight sight = AddRow(item, begin);
    for (int32_t r = 1; r < rows; ++r) sight = Either(sight, AddRow(item, begin + r));
    const PageSequence pages = PagesBetween(0, sight.cores, sight.raw_begin, sight.raw_end);
    splits = std::clamp<int64_t>(pages.size() / kLeastSplitPages, 1, splits);
    for (int64_t s = 0; s < splits; ++s) {
      const int64_t from = pages.size() * s / splits, to = pages.size() * (s + 1) / splits;
      Draft draft{{}, 1, true};
      AttentionUnit& unit = draft.unit;
      unit = {0, 0, 0, 0, item, first_row, rows, -1};
      if (from < pages.cores) {
        unit.core_begin = from * kPageTokens;
        unit.core_end = std::min(sight.cores, std::min(to, pages.cores) * kPageTokens);
      }
      if (to > pages.cores) {
        const int64_t raw_from = pages.first_raw + std::max<int64_t>(0, from - pages.cores);
        const int64_t raw_to = pages.first_raw + to - pages.cores;
        unit.raw_begin = std::max(sight.raw_begin, raw_from * kPageTokens);
        unit.raw_end = std::min(sight.raw_end, raw_to * kPageTokens);
      }
      if (splits > 1) unit.partial = AddPartials(rows, from >= pages.cores, from);
      drafts_.push_back(draft);
    }
  }

  void AddGroup(const ChunkGroup& group) {
    const StatePart part = group.raw ? StatePart::kRaw : StatePart::kCore;
    const int32_t pack = PackOf(shape_, part);
    const int32_t most = std::max(1, kUnitSlots / pack);
    Draft draft{{}, pack, false};
    Sight sight;
    const auto close = [&] {
      AttentionUnit& unit = draft.unit;
      if (unit.rows == 0) return;
      if (group.raw) {
        unit.raw_begin = std::max(sight.raw_begin, group.begin * kPageTokens);
        unit.raw_end = std::max(unit.raw_begin, std::min(sight.raw_end, group.end * kPageTokens));
      } else {
        unit.core_begin = group.begin * kPageTokens;
        unit.core_end = std::max(unit.core_begin, std::min(sight.cores, group.end * kPageTokens));
      }
      if (!group.whole) unit.partial = AddPartials(unit.rows, group.raw, group.begin);
      drafts_.push_back(draft);
    };
    for (const DecodeItem& member : group.members) {
      for (int32_t r = 0; r < member.rows; ++r) {
        if (draft.unit.rows == most) close();
        if (draft.unit.rows == most || draft.unit.rows == 0) {
          draft.unit = {0, 0, 0, 0, group.leader, static_cast<int32_t>(plan_.rows.size()), 0, -1};
        }
        const Sight row = AddRow(member.item, r);
        sight = draft.unit.rows == 0 ? row : Either(sight, row);
        ++draft.unit.rows;
      }
    }
    close();
  }

  // The longest units first, so that the grid's last blocks are short.
  void AddLaunches() {
    const auto launch_of = [](const Draft& d) { return std::tuple(!d.prefill, -d.Tile(), d.pack); };
    std::stable_sort(drafts_.begin(), drafts_.end(), [&](const Draft& a, const Draft& b) {
      return std::tuple(launch_of(a), -a.Pages()) < std::tuple(launch_of(b), -b.Pages());
    });
    for (size_t begin = 0; begin < drafts_.size();) {
      size_t end = begin + 1;
      while (end < drafts_.size() && launch_of(drafts_[end]) == launch_of(drafts_[begin])) ++end;
      const auto first = static_cast<int32_t>(plan_.units.size());
      for (size_t i = begin; i < end; ++i) plan_.units.push_back(drafts_[i].unit);
      const int32_t units = RoundUp(end - begin);
      plan_.units.resize(static_cast<size_t>(first) + static_cast<size_t>(units));
      const Draft& draft = drafts_[begin];
      plan_.launches.push_back({first, units, draft.pack, draft.Tile(), draft.prefill});
      begin = end;
    }
  }

  void AddMerges() {
    for (size_t out = 0; out < parts_.size(); ++out) {
      std::vector<Part>& parts = parts_[out];
      if (parts.empty()) continue;
      std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
        return std::tuple(a.raw, a.begin) < std::tuple(b.raw, b.begin);
      });
      plan_.merges.push_back({static_cast<int32_t>(out),
                              static_cast<int32_t>(plan_.merge_partials.size()),
                              static_cast<int32_t>(parts.size())});
      for (const Part& part : parts) plan_.merge_partials.push_back(part.partial);
    }
    plan_.merges.resize(static_cast<size_t>(RoundUp(plan_.merges.size())));
  }

  const StepShape& shape_;
  const absl::Span<const PlanItem> items_;
  const int multiprocessors_;
  std::vector<Wanted> wanted_;            // [items]
  std::vector<std::vector<Part>> parts_;  // [rows of the result]
  std::vector<Draft> drafts_;
  AttentionPlan plan_;
};

}  // namespace

AttentionPlan PlanAttention(const StepShape& shape, Rows which, absl::Span<const PlanItem> items,
                            int multiprocessors) {
  return Planner(shape, which, items, multiprocessors).Plan();
}

}  // namespace longleaf::kernels::cuda
