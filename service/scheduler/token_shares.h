// Who is next: tenants, then documents within a tenant, share what the model can do by a virtual
// token counter (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024). Each has a
// counter of the tokens it has been served; the lowest goes first; who comes back from idleness is
// lifted to the lowest of those at work, so that time away earns nothing.
//
// Pure arithmetic: no clock, no lock. For one thread.
#ifndef LONGLEAF_SERVICE_SCHEDULER_TOKEN_SHARES_H_
#define LONGLEAF_SERVICE_SCHEDULER_TOKEN_SHARES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace longleaf::service {

// Whose work something is: what is charged for it.
struct Flow {
  std::string tenant;
  std::string document;

  friend auto operator<=>(const Flow&, const Flow&) = default;
};

class TokenShares {
 public:
  // States who has work from now on (duplicates allowed): newcomers are lifted, those that are gone
  // are forgotten as soon as their counter no longer matters. Memory is bounded by the number of
  // flows at work and a constant.
  void SetActive(absl::Span<const Flow* const> flows);

  // `tokens` were served to `flow`; charged to its document and its tenant.
  void Charge(const Flow& flow, int64_t tokens);

  // Indices into `flows`, which must be active, from who is served first to who comes last: by the
  // tenant's counter, then the document's, then the order given. Deterministic.
  std::vector<size_t> Order(absl::Span<const Flow* const> flows) const;

  // Tokens served, above the least served at work; 0 for unknown. For tests and metrics.
  int64_t TenantLead(const std::string& tenant) const;
  size_t flows() const;  // held in memory

 private:
  struct Tenant {
    int64_t served = 0;
    bool active = false;
    std::map<std::string, int64_t> documents;  // -> served
  };
  std::map<std::string, Tenant> tenants_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_SCHEDULER_TOKEN_SHARES_H_
