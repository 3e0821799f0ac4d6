#include "service/scheduler/token_shares.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace longleaf::service {
namespace {

// Of those who are gone, this many are remembered at most: the ones that were served most.
constexpr size_t kMaxIdleTenants = 256;
constexpr size_t kMaxIdleDocuments = 16;  // of each tenant
// How many SetActive calls lie between two looks at who can be forgotten.
constexpr uint64_t kForgetEvery = 64;
// Counters begin anew above this: far from overflow, whatever is charged at once.
constexpr int64_t kRenormalise = int64_t{1} << 60;
constexpr int64_t kMaxCharge = int64_t{1} << 40;

}  // namespace

void TokenShares::Level::Activate(absl::Span<const Active> names, uint64_t now) {
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  // Whoever was at work before and still is says where newcomers begin; of those who only wait,
  // nobody lies far behind those who are served.
  int64_t lowest = kNone;
  int64_t lowest_ready = kNone;
  for (const Active& active : names) {
    const auto found = counters.find(*active.name);
    if (found != counters.end() && found->second.AtWork(now)) {
      lowest = std::min(lowest, found->second.served);
      if (active.ready) {
        lowest_ready = std::min(lowest_ready, found->second.served);
      }
    }
  }
  const int64_t behind = lowest_ready == kNone ? floor : lowest_ready - kMaxLag;
  const int64_t begin = std::max(lowest == kNone ? floor : lowest, behind);
  lowest = kNone;
  for (const Active& active : names) {
    Counter& counter = counters[*active.name];
    if (!counter.AtWork(now)) {
      counter.served = std::max(counter.served, begin);
    } else if (!active.ready) {
      counter.served = std::max(counter.served, behind);
    }
    counter.seen = now;
    lowest = std::min(lowest, counter.served);
  }
  floor = std::max(floor, lowest);
  if (floor > kRenormalise) {
    for (auto& [name, counter] : counters) {
      counter.served = std::max<int64_t>(0, counter.served - floor);
    }
    floor = 0;
  }
}

void TokenShares::Level::Charge(const std::string& name, int64_t tokens) {
  const auto [at, is_new] = counters.try_emplace(name);
  Counter& counter = at->second;
  if (is_new) {
    counter.served = floor;
  }
  counter.served = std::min(counter.served, std::numeric_limits<int64_t>::max() - kMaxCharge) +
                   std::clamp<int64_t>(tokens, 0, kMaxCharge);
}

void TokenShares::Level::Forget(uint64_t now, size_t max_idle) {
  std::vector<std::pair<int64_t, std::string>> idle;
  for (auto at = counters.begin(); at != counters.end();) {
    if (at->second.seen == now) {
      ++at;
    } else if (at->second.served <= floor) {
      at = counters.erase(at);  // it would be lifted to where somebody new begins
    } else {
      idle.emplace_back(at->second.served, at->first);
      ++at;
    }
  }
  if (idle.size() > max_idle) {
    const auto kept = idle.end() - static_cast<std::ptrdiff_t>(max_idle);
    std::nth_element(idle.begin(), kept, idle.end());
    for (auto at = idle.begin(); at != kept; ++at) {
      counters.erase(at->second);
    }
  }
}

int64_t TokenShares::Level::Served(const std::string& name) const {
  const auto found = counters.find(name);
  return found == counters.end() ? floor : found->second.served;
}

void TokenShares::SetActive(absl::Span<const Flow* const> ready,
                            absl::Span<const Flow* const> waiting) {
  ++now_;
  if (ready.empty() &&
      waiting.empty()) {  // nobody waits: what somebody was served, nobody else went without
    tenants_ = Level();
    documents_.clear();
    return;
  }
  struct At {
    const Flow* flow;
    bool ready;
  };
  std::vector<At> sorted;
  sorted.reserve(ready.size() + waiting.size());
  for (const Flow* flow : ready) {
    sorted.push_back({flow, true});
  }
  for (const Flow* flow : waiting) {
    sorted.push_back({flow, false});
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const At& a, const At& b) { return *a.flow < *b.flow; });
  std::vector<Active> tenants;
  std::vector<Active> documents;
  for (size_t i = 0; i < sorted.size();) {
    const std::string& tenant = sorted[i].flow->tenant;
    bool tenant_ready = false;
    documents.clear();
    for (; i < sorted.size() && sorted[i].flow->tenant == tenant; ++i) {
      tenant_ready = tenant_ready || sorted[i].ready;
      // Of equal ones, those that are ready come first.
      if (documents.empty() || *documents.back().name != sorted[i].flow->document) {
        documents.push_back({&sorted[i].flow->document, sorted[i].ready});
      }
    }
    tenants.push_back({&tenant, tenant_ready});
    documents_[tenant].Activate(documents, now_);
  }
  tenants_.Activate(tenants, now_);
  if (now_ % kForgetEvery != 0) {
    return;
  }
  tenants_.Forget(now_, kMaxIdleTenants);
  for (auto at = documents_.begin(); at != documents_.end();) {
    if (tenants_.counters.contains(at->first)) {
      at->second.Forget(now_, kMaxIdleDocuments);
      ++at;
    } else {
      at = documents_.erase(at);
    }
  }
}

void TokenShares::Charge(const Flow& flow, int64_t tokens) {
  tenants_.Charge(flow.tenant, tokens);
  documents_[flow.tenant].Charge(flow.document, tokens);
}

std::vector<size_t> TokenShares::Order(absl::Span<const Flow* const> flows) const {
  struct Place {
    int64_t tenant;
    int64_t document;
    size_t index;
    auto operator<=>(const Place&) const = default;
  };
  std::vector<Place> places;
  places.reserve(flows.size());
  for (size_t i = 0; i < flows.size(); ++i) {
    const auto documents = documents_.find(flows[i]->tenant);
    places.push_back(
        {tenants_.Served(flows[i]->tenant),
         documents == documents_.end() ? 0 : documents->second.Served(flows[i]->document), i});
  }
  std::sort(places.begin(), places.end());
  std::vector<size_t> order(flows.size());
  std::transform(places.begin(), places.end(), order.begin(),
                 [](const Place& place) { return place.index; });
  return order;
}

int64_t TokenShares::TenantLead(const std::string& tenant) const {
  return std::max<int64_t>(0, tenants_.Served(tenant) - tenants_.floor);
}

size_t TokenShares::flows() const {
  return std::accumulate(
      documents_.begin(), documents_.end(), size_t{0},
      [](size_t sum, const auto& of_tenant) { return sum + of_tenant.second.counters.size(); });
}

}  // namespace longleaf::service
