#include "service/evidence.h"

#include <algorithm>
#include <numeric>

namespace longleaf::service {
namespace {

// Where there are no groups (full, streaming), raw tokens are gathered by this many.
constexpr int64_t kUnitWithoutGroups = 8;
// A group with less than this share of the strongest one's weight is not worth pointing at.
constexpr double kLeastShare = 0.02;

}  // namespace

EvidenceCollector::EvidenceCollector(const kernels::AttentionPolicy& policy, int64_t prefix_tokens,
                                     int64_t document_tokens)
    : policy_(policy),
      prefix_tokens_(prefix_tokens),
      document_tokens_(document_tokens),
      unit_(policy.kind == kernels::AttentionPolicy::Kind::kCca ? policy.group
                                                                : kUnitWithoutGroups),
      weights_(static_cast<size_t>((prefix_tokens + document_tokens + unit_ - 1) / unit_)) {}

float* EvidenceCollector::Prepare(int64_t query) {
  query_ = query;
  const int64_t cores = policy_.CoresVisible(query + 1);
  const int64_t raw = query + 1 - policy_.FirstRaw(query + 1);
  mass_.assign(static_cast<size_t>(cores + raw), 0.0f);
  return mass_.data();
}

void EvidenceCollector::Add() {
  const int64_t cores = policy_.CoresVisible(query_ + 1);
  const int64_t first_raw = policy_.FirstRaw(query_ + 1);
  const bool pooled = policy_.kind == kernels::AttentionPolicy::Kind::kCca;
  for (size_t i = 0; i < mass_.size(); ++i) {
    const int64_t index = static_cast<int64_t>(i);
    const int64_t token =
        index < cores ? (pooled ? index * policy_.group : index) : first_raw + index - cores;
    const size_t unit = static_cast<size_t>(token / unit_);
    if (unit < weights_.size()) {
      weights_[unit] += static_cast<double>(mass_[i]);
    }
  }
}

std::vector<EvidenceSpan> EvidenceCollector::Strongest(int64_t count,
                                                       absl::Span<const int64_t> token_ends) const {
  // The first unit holds BOS, on which attention rests when it has nothing to look for.
  const size_t first =
      prefix_tokens_ > 0 ? static_cast<size_t>((prefix_tokens_ - 1) / unit_ + 1) : 0;
  if (first >= weights_.size()) {
    return {};
  }
  const double total =
      std::accumulate(weights_.begin() + static_cast<std::ptrdiff_t>(first), weights_.end(), 0.0);
  if (total <= 0) {
    return {};
  }
  std::vector<size_t> order(weights_.size() - first);
  std::iota(order.begin(), order.end(), first);
  // Twice as many units as passages: neighbours merge.
  const size_t kept = std::min(order.size(), static_cast<size_t>(count) * 2);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [this](size_t a, size_t b) {
                      return weights_[a] != weights_[b] ? weights_[a] > weights_[b] : a < b;
                    });
  order.resize(kept);
  const double least = kLeastShare * weights_[order.front()];
  std::erase_if(order, [this, least](size_t unit) { return weights_[unit] <= least; });
  std::sort(order.begin(), order.end());

  std::vector<EvidenceSpan> spans;
  const int64_t limit =
      std::min<int64_t>(document_tokens_, static_cast<int64_t>(token_ends.size()));
  for (size_t i = 0; i < order.size();) {
    size_t last = i;
    double weight = weights_[order[i]];
    while (last + 1 < order.size() && order[last + 1] == order[last] + 1) {
      weight += weights_[order[++last]];
    }
    const int64_t begin =
        std::max<int64_t>(0, static_cast<int64_t>(order[i]) * unit_ - prefix_tokens_);
    const int64_t end =
        std::min(limit, static_cast<int64_t>(order[last] + 1) * unit_ - prefix_tokens_);
    if (begin < end) {
      spans.push_back({.begin_byte = begin == 0 ? 0 : token_ends[static_cast<size_t>(begin - 1)],
                       .end_byte = token_ends[static_cast<size_t>(end - 1)],
                       .weight = static_cast<float>(weight / total)});
    }
    i = last + 1;
  }
  std::stable_sort(spans.begin(), spans.end(), [](const EvidenceSpan& a, const EvidenceSpan& b) {
    return a.weight > b.weight;
  });
  if (spans.size() > static_cast<size_t>(count)) {
    spans.resize(static_cast<size_t>(count));
  }
  return spans;
}

}  // namespace longleaf::service
