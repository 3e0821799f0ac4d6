#include "kernels/cpu/cca_attention_share.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"

namespace longleaf::kernels {
namespace {

// A pass has to save this many reads of a page for its partial results and their merge.
constexpr int64_t kLeastSaved = 4;

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// One item's pages of one part, from the first that is not dealt with yet.
struct Entry {
  int64_t item = 0;
  const std::byte* const* pages = nullptr;
  int64_t begin = 0;
  int64_t end = 0;
  bool whole = true;  // `begin` is the first page that the item sees
};

// Entries that begin with a page of the same leader.
struct Family {
  Entry leader;
  struct Member {
    Entry entry;
    int64_t parts = kNever;  // first page that is not the leader's; kNever: it sees none
  };
  std::vector<Member> members;  // without the leader
};

Family::Member Compare(const Entry& leader, const Entry& entry) {
  const int64_t stop = std::min(leader.end, entry.end);
  int64_t page = entry.begin;
  while (page < stop && leader.pages[page] == entry.pages[page]) ++page;
  return {entry, page == entry.end ? kNever : page};
}

// The first of equal pages is the leader's: of the entries that begin first, the longest.
std::vector<Family> FindFamilies(std::vector<Entry>& entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  std::vector<int64_t> begins;  // distinct, rising: the only places where an entry is looked up
  for (const Entry& entry : entries) {
    if (begins.empty() || begins.back() != entry.begin) begins.push_back(entry.begin);
  }
  std::vector<Family> families;
  absl::flat_hash_map<const std::byte*, size_t> family_at;
  for (const Entry& entry : entries) {
    const auto found = family_at.find(entry.pages[entry.begin]);
    if (found != family_at.end()) {
      Family& family = families[found->second];
      Family::Member member = Compare(family.leader, entry);
      // Else the page lies at another place in the leader's table, or the item sees other pages
      // before it.
      if (member.parts > entry.begin && (entry.whole || entry.begin == family.leader.begin)) {
        family.members.push_back(member);
        continue;
      }
    }
    for (auto at = std::lower_bound(begins.begin(), begins.end(), entry.begin);
         at != begins.end() && *at < entry.end; ++at) {
      family_at.try_emplace(entry.pages[*at], families.size());
    }
    families.push_back({entry, {}});
  }
  return families;
}

// Cuts the leader's pages where members part from it, and passes on what they have beyond.
void AddPasses(const Family& family, bool raw, std::vector<SharedPass>& passes,
               std::vector<Entry>& rest) {
  std::vector<int64_t> cuts;
  int64_t longest = 0;  // of the members that never part
  for (const Family::Member& member : family.members) {
    if (member.parts == kNever) {
      longest = std::max(longest, member.entry.end);
      continue;
    }
    cuts.push_back(member.parts);
    rest.push_back(member.entry);
    rest.back().begin = member.parts;
    rest.back().whole = false;
  }
  if (longest > 0) cuts.push_back(longest);
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  int64_t begin = family.leader.begin;
  for (const int64_t cut : cuts) {
    SharedPass pass{{raw, begin, cut}, {family.leader.item}};
    int64_t saved = 0;
    for (const Family::Member& member : family.members) {
      const int64_t sees = std::min(cut, member.entry.end) - std::max(begin, member.entry.begin);
      if (member.parts < cut || sees <= 0) continue;
      pass.members.push_back(member.entry.item);
      saved += sees;
    }
    if (saved >= kLeastSaved) passes.push_back(std::move(pass));
    begin = cut;
  }
}

void FindPasses(std::vector<Entry> entries, bool raw, std::vector<SharedPass>& passes) {
  // Who has parted from a leader may still go with others; entries only become shorter.
  while (entries.size() > 1) {
    std::vector<Entry> rest;
    for (const Family& family : FindFamilies(entries)) AddPasses(family, raw, passes, rest);
    entries = std::move(rest);
  }
}

}  // namespace

std::vector<SharedPass> FindSharedPasses(const AttentionPolicy& policy, const AttentionDims& dims,
                                         absl::Span<const AttentionItem> items) {
  std::vector<SharedPass> passes;
  if (items.size() < 2) return passes;
  const int64_t half = RowsThatFit(dims.head_dim) / 2;
  std::vector<Entry> cores, raws;
  for (size_t i = 0; i < items.size(); ++i) {
    const AttentionItem& item = items[i];
    if (item.rows <= 0) continue;
    const KeyTiles tiles = TilesSeen(policy, item.first_token, item.rows);
    const int64_t index = static_cast<int64_t>(i);
    if (tiles.core > 0 && item.rows * (dims.query_heads / dims.core_heads) <= half) {
      cores.push_back({index, item.core_pages, 0, tiles.core});
    }
    if (item.rows * (dims.query_heads / dims.kv_heads) <= half) {
      raws.push_back({index, item.raw_pages, tiles.raw_first, tiles.raw_first + tiles.raw});
    }
  }
  FindPasses(std::move(cores), false, passes);
  FindPasses(std::move(raws), true, passes);
  return passes;
}

}  // namespace longleaf::kernels
