#include "service/scheduler/token_shares.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <string_view>
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
constexpr int64_t kMaxCharge = int64_t{1} << 45;

}  // namespace

void TokenShares::Level::Activate(absl::Span<const Active> active, uint64_t now) {
  constexpr int64_t kNone = std::numeric_limits<int64_t>::max();
  // Whoever was at work before and still is says where newcomers begin; of those who only wait,
  // nobody lies far behind those who are served.
  int64_t lowest = kNone;
  int64_t lowest_ready = kNone;
  for (const Active& one : active) {
    if (one.counter->AtWork(now)) {
      lowest = std::min(lowest, one.counter->served);
      if (one.ready) {
        lowest_ready = std::min(lowest_ready, one.counter->served);
      }
    }
  }
  const int64_t behind = lowest_ready == kNone ? floor : lowest_ready - kMaxLag;
  const int64_t begin = std::max(lowest == kNone ? floor : lowest, behind);
  lowest = kNone;
  for (const Active& one : active) {
    if (!one.counter->AtWork(now)) {
      one.counter->served = std::max(one.counter->served, begin);
    } else if (!one.ready) {
      one.counter->served = std::max(one.counter->served, behind);
    }
    one.counter->seen = now;
    lowest = std::min(lowest, one.counter->served);
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
  struct OfTenant {
    const std::string* tenant;
    Documents* documents;
  };
  std::vector<OfTenant> tenants;
  const auto add = [this, &tenants](const Flow& flow, bool is_ready) {
    Documents* documents = nullptr;
    if (!tenants.empty() && *tenants.back().tenant == flow.tenant) {
      documents = tenants.back().documents;
    } else {
      documents = &documents_[flow.tenant];
    }
    if (documents->seen != now_) {
      documents->seen = now_;
      documents->ready = false;
      documents->active.clear();
      tenants.push_back({&flow.tenant, documents});
    }
    documents->ready = documents->ready || is_ready;
    documents->active.push_back({&documents->counters[flow.document], is_ready});
  };
  for (const Flow* flow : ready) {
    add(*flow, true);
  }
  for (const Flow* flow : waiting) {
    add(*flow, false);
  }
  std::vector<Active> active;
  active.reserve(tenants.size());
  for (const OfTenant& one : tenants) {
    one.documents->Activate(one.documents->active, now_);
    active.push_back({&tenants_.counters[*one.tenant], one.documents->ready});
  }
  tenants_.Activate(active, now_);
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
    size_t tenant_index;  // equal tenants one after the other: their documents do not compare
    int64_t document;
    size_t index;
    auto operator<=>(const Place&) const = default;
  };
  std::vector<Place> places;
  places.reserve(flows.size());
  const std::string* tenant = nullptr;
  int64_t tenant_served = 0;
  size_t tenant_index = 0;
  std::unordered_map<std::string_view, size_t> first;  // index of each tenant
  const Documents* documents = nullptr;
  for (size_t i = 0; i < flows.size(); ++i) {
    if (tenant == nullptr || *tenant != flows[i]->tenant) {
      tenant = &flows[i]->tenant;
      tenant_served = tenants_.Served(*tenant);
      tenant_index = first.try_emplace(*tenant, i).first->second;
      const auto found = documents_.find(*tenant);
      documents = found == documents_.end() ? nullptr : &found->second;
    }
    places.push_back({tenant_served, tenant_index,
                      documents == nullptr ? 0 : documents->Served(flows[i]->document), i});
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
