#include "service/bench/arrivals.h"

#include <cmath>

namespace longleaf::service::bench {

double PoissonArrivals::Next() {
  // std::exponential_distribution is not the same in every library.
  const double uniform = static_cast<double>(random_() >> 11) * 0x1.0p-53;  // [0, 1)
  at_ += -std::log1p(-uniform) / rate_;
  return at_;
}

}  // namespace longleaf::service::bench
