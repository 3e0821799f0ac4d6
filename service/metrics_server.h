// GET /metrics, on a port of its own.
#ifndef LONGLEAF_SERVICE_METRICS_SERVER_H_
#define LONGLEAF_SERVICE_METRICS_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "service/metrics.h"

namespace longleaf::service {

class MetricsServer {
 public:
  // Listens on HOST:PORT (port 0: a free one) and serves `metrics`, which must outlive it.
  // INVALID_ARGUMENT or UNAVAILABLE say what is wrong with the address.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& address,
                                                              const Metrics& metrics);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // With the port that was chosen.
  const std::string& address() const;

 private:
  struct Rep;
  explicit MetricsServer(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

// "HOST:PORT" in its parts; INVALID_ARGUMENT names `flag`.
struct HostPort {
  std::string host;
  int port = 0;
};
absl::StatusOr<HostPort> SplitAddress(const std::string& address, absl::string_view flag);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_METRICS_SERVER_H_
