// Cutting what decode items see into chunks, and finding the chunks that items have in common.
#include "kernels/cuda/attention_chunks.h"

#include <utility>

#include "absl/container/flat_hash_map.h"

namespace longleaf::kernels::cuda {
namespace {

// A coarse chunk: rows enough to use a page well, and partial results that are not too many.
constexpr int64_t kCoarsePages = 32;

// One chunk of one item.
struct Piece {
  bool raw = false;
  bool fine = false;
  int64_t begin = 0;
  int64_t end = 0;
  // Whether the item sees no more beyond: of cores after the end, of raw tokens before the
  // beginning. Then it may take part in a longer chunk.
  bool open = false;
};

std::byte* PageOf(const PlanItem& item, bool raw, int64_t page) {
  const absl::Span<std::byte* const> pages = raw ? item.raw_pages : item.core_pages;
  const int64_t first = raw ? item.first_raw_page : item.first_core_page;
  return pages[static_cast<size_t>(page - first)];
}

void Cut(const ChunkRule& rule, Piece piece, int64_t own, std::vector<Piece>& pieces) {
  const int64_t begin = piece.begin, end = piece.end;
  while (piece.begin < end) {
    piece.end = std::min(rule.End(piece.begin), end);
    if (piece.begin < own) piece.end = std::min(piece.end, own);
    piece.open = piece.raw ? piece.begin == begin : piece.end == end;
    pieces.push_back(piece);
    piece.begin = piece.end;
  }
}

// The chunks of an item, cores first.
std::vector<Piece> PiecesOf(const StepShape& shape, const PlanItem& item,
                            const DecodeItem& decode) {
  const AttentionPolicy& policy = shape.policy;
  const int64_t first = item.first_token + decode.first;
  const Sight sight = Either(SeenBy(policy, first), SeenBy(policy, first + decode.rows - 1));
  const bool fine = decode.rows <= kFineRows;
  std::vector<Piece> pieces;
  Cut(ChunksOf(shape, StatePart::kCore, decode.rows), {false, fine, 0, PagesOf(sight.cores)},
      policy.CoresAfter(item.trunk_tokens) / kPageTokens, pieces);
  Cut(ChunksOf(shape, StatePart::kRaw, decode.rows),
      {true, fine, sight.raw_begin / kPageTokens, PagesOf(sight.raw_end)},
      item.trunk_tokens / kPageTokens, pieces);
  return pieces;
}

class Grouping {
 public:
  explicit Grouping(absl::Span<const PlanItem> items) : items_(items) {}

  // The group that `piece` of `decode` belongs to from now on.
  size_t Join(const Piece& piece, const DecodeItem& decode) {
    // Siblings see cores from the same beginning, and raw tokens up to the same end.
    const PlanItem& item = items_[static_cast<size_t>(decode.item)];
    const std::byte* key = PageOf(item, piece.raw, piece.raw ? piece.end - 1 : piece.begin);
    std::vector<size_t>& candidates = at_[key];
    for (const size_t candidate : candidates) {
      ChunkGroup& group = groups_[candidate];
      if (lengths_[candidate].fine != piece.fine || !Fits(piece, item, group)) continue;
      const int64_t longer = (piece.end - piece.begin) - (group.end - group.begin);
      bool& open = lengths_[candidate].open;
      if ((longer < 0 && !piece.open) || (longer > 0 && !open)) continue;
      if (longer > 0) {
        group.begin = piece.begin;
        group.end = piece.end;
        group.leader = decode.item;
        open = piece.open;
      } else if (longer == 0) {
        open = open && piece.open;
      }
      group.members.push_back(decode);
      return candidate;
    }
    candidates.push_back(groups_.size());
    lengths_.push_back({piece.fine, piece.open});
    groups_.push_back({piece.raw, piece.begin, piece.end, decode.item, {decode}, true});
    return groups_.size() - 1;
  }

  std::vector<ChunkGroup>& groups() { return groups_; }

 private:
  // Whether the shorter of the two is a part of the longer one.
  bool Fits(const Piece& piece, const PlanItem& item, const ChunkGroup& group) const {
    if (piece.raw != group.raw) return false;
    if (piece.raw ? piece.end != group.end : piece.begin != group.begin) return false;
    const PlanItem& leader = items_[static_cast<size_t>(group.leader)];
    const int64_t begin = std::max(piece.begin, group.begin);
    const int64_t end = std::min(piece.end, group.end);
    for (int64_t page = begin; page < end; ++page) {
      if (PageOf(item, piece.raw, page) != PageOf(leader, piece.raw, page)) return false;
    }
    return true;
  }

  struct Lengths {
    bool fine = false;
    bool open = false;  // whether all members are that are as long as the group
  };

  const absl::Span<const PlanItem> items_;
  std::vector<ChunkGroup> groups_;
  std::vector<Lengths> lengths_;  // [groups]
  absl::flat_hash_map<const std::byte*, std::vector<size_t>> at_;
};

}  // namespace

ChunkRule ChunksOf(const StepShape& shape, StatePart part, int32_t wanted) {
  const int32_t blocks = shape.query_heads / PackOf(shape, part);  // of a unit
  ChunkRule rule;
  if (wanted <= kFineRows) {
    // The fewer heads, the shorter the chunks that a chip full of blocks needs.
    const auto quarter = static_cast<int64_t>(std::bit_floor(static_cast<uint32_t>(blocks))) / 4;
    rule = {std::clamp<int64_t>(quarter, 2, 8), 16};
  } else {
    rule = {kCoarsePages, 2};
  }
  if (part == StatePart::kRaw && shape.policy.kind != AttentionPolicy::Kind::kFull) {
    // A window moves through the state: its chunks are as long at the end as at the beginning.
    const auto window = static_cast<int64_t>(
        std::bit_floor(static_cast<uint64_t>(shape.policy.window / kPageTokens)));
    rule = {std::max(rule.least, window / rule.per_octave), 0};
  }
  return rule;
}

std::vector<ChunkGroup> GroupChunks(const StepShape& shape, absl::Span<const PlanItem> items,
                                    absl::Span<const DecodeItem> decode) {
  Grouping grouping(items);
  for (const DecodeItem& one : decode) {
    const std::vector<Piece> pieces = PiecesOf(shape, items[static_cast<size_t>(one.item)], one);
    for (const Piece& piece : pieces) {
      const size_t group = grouping.Join(piece, one);
      if (pieces.size() > 1) grouping.groups()[group].whole = false;
    }
  }
  return std::move(grouping.groups());
}

}  // namespace longleaf::kernels::cuda
