// When questions arrive in an open loop.
#ifndef LONGLEAF_SERVICE_BENCH_ARRIVALS_H_
#define LONGLEAF_SERVICE_BENCH_ARRIVALS_H_

#include <cstdint>
#include <random>

namespace longleaf::service::bench {

// A Poisson process: independent, exponentially distributed gaps. The same seed gives the same
// arrivals on every machine.
class PoissonArrivals {
 public:
  // `rate` > 0, per second.
  PoissonArrivals(double rate, uint64_t seed) : rate_(rate), random_(seed) {}
  // The next arrival, in seconds since the start; increasing.
  double Next();

 private:
  const double rate_;
  std::mt19937_64 random_;
  double at_ = 0;
};

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_ARRIVALS_H_
