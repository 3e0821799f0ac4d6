#include "service/metrics_server.h"

#include <netdb.h>
#include <prometheus/exposer.h>
#include <prometheus/registry.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace longleaf::service {
namespace {

constexpr size_t kThreads = 2;

// Connects and closes at once.
void Knock(const HostPort& to) {
  addrinfo* found = nullptr;
  if (getaddrinfo(to.host.c_str(), std::to_string(to.port).c_str(), nullptr, &found) != 0) {
    return;
  }
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0) {
    connect(fd, found->ai_addr, found->ai_addrlen);
    close(fd);
  }
  freeaddrinfo(found);
}

}  // namespace

struct MetricsServer::Rep {
  std::unique_ptr<prometheus::Exposer> exposer;
  HostPort bound;
  std::string address;
};

MetricsServer::MetricsServer(std::unique_ptr<Rep> rep) : rep_(std::move(rep)) {}

// The HTTP server looks at its stop flag every two seconds, or when somebody connects.
MetricsServer::~MetricsServer() {
  std::atomic<bool> stopped = false;
  std::thread knocker([this, &stopped] {
    while (!stopped) {
      Knock(rep_->bound);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  rep_->exposer.reset();
  stopped = true;
  knocker.join();
}

const std::string& MetricsServer::address() const { return rep_->address; }

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(const std::string& address,
                                                                    const Metrics& metrics) {
  absl::StatusOr<HostPort> split = SplitAddress(address, "--metrics-listen");
  if (!split.ok()) {
    return split.status();
  }
  auto rep = std::make_unique<Rep>();
  try {  // the library has no other way to say no, and does not say why
    rep->exposer = std::make_unique<prometheus::Exposer>(address, kThreads);
  } catch (const std::exception&) {
    return absl::UnavailableError(
        absl::StrCat("--metrics-listen ", address, ": cannot listen there (is the port taken?)"));
  }
  rep->exposer->RegisterCollectable(metrics.registry());
  rep->exposer->RegisterCollectable(metrics.readings());
  const std::vector<int> ports = rep->exposer->GetListeningPorts();
  rep->bound = {split->host, ports.empty() ? split->port : ports.front()};
  rep->address = absl::StrCat(rep->bound.host, ":", rep->bound.port);
  return std::unique_ptr<MetricsServer>(new MetricsServer(std::move(rep)));
}

absl::StatusOr<HostPort> SplitAddress(const std::string& address, absl::string_view flag) {
  const size_t colon = address.rfind(':');
  HostPort split;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &split.port) || split.port < 0 ||
      split.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": expected HOST:PORT, got \"", address, "\""));
  }
  split.host = address.substr(0, colon);
  return split;
}

}  // namespace longleaf::service
