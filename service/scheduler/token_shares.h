// Who is next: tenants, then documents within a tenant, share what the model can do by a virtual
// token counter (Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024). Each has a
// counter of the tokens it has been served; the lowest goes first; who comes back from idleness is
// lifted to the lowest of those at work, so that time away earns nothing.
//
// Pure arithmetic: no clock, no lock. For one thread.
#ifndef LONGLEAF_SERVICE_SCHEDULER_TOKEN_SHARES_H_
#define LONGLEAF_SERVICE_SCHEDULER_TOKEN_SHARES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
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
  // States who has work from now on (duplicates allowed): `ready` can be served in the next step,
  // `waiting` waits for admission. Newcomers are lifted to the lowest; who waits falls back by
  // kMaxLag at most behind those who are served (it may wait for something else than its turn).
  // Those who are gone are forgotten soon after their counter has ceased to matter; all are when
  // nobody has work (nobody went without what the others were served). Memory is bounded by the
  // number of flows at work and a constant.
  void SetActive(absl::Span<const Flow* const> ready, absl::Span<const Flow* const> waiting = {});
  static constexpr int64_t kMaxLag = 16384;  // tokens

  // `tokens` were served to `flow`, at work or not; charged to its document and its tenant.
  void Charge(const Flow& flow, int64_t tokens);

  // Indices into `flows`, from who is served first to who comes last: by the
  // tenant's counter, then the document's, then the order given. Deterministic.
  std::vector<size_t> Order(absl::Span<const Flow* const> flows) const;

  // Tokens served, above the least served at work; 0 for unknown. For tests and metrics.
  int64_t TenantLead(const std::string& tenant) const;
  size_t flows() const;  // held in memory

 private:
  struct Counter {
    int64_t served = 0;
    uint64_t seen = 0;  // the last SetActive that named it

    bool AtWork(uint64_t now) const { return seen != 0 && seen + 1 >= now; }
  };
  struct Active {
    Counter* counter;
    bool ready;
  };
  // Counters that are compared with one another: of all tenants, or of a tenant's documents.
  struct Level {
    std::unordered_map<std::string, Counter> counters;
    int64_t floor = 0;  // of the least served at work; where newcomers begin

    void Activate(absl::Span<const Active> active, uint64_t now);
    void Charge(const std::string& name, int64_t tokens);
    void Forget(uint64_t now, size_t max_idle);
    int64_t Served(const std::string& name) const;
  };
  struct Documents : Level {
    // While SetActive runs:
    uint64_t seen = 0;
    bool ready = false;
    std::vector<Active> active;
  };

  Level tenants_;
  std::unordered_map<std::string, Documents> documents_;  // of each tenant held
  uint64_t now_ = 0;                                      // SetActive calls
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_SCHEDULER_TOKEN_SHARES_H_
