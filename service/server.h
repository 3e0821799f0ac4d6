// The whole service in one object: store, model, engine, gRPC server, metrics.
#ifndef LONGLEAF_SERVICE_SERVER_H_
#define LONGLEAF_SERVICE_SERVER_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cache_store/store.h"
#include "service/options.h"

namespace longleaf::service {

// How the server opens its store. Tests put a file system of their own under it.
using StoreOpener =
    std::function<absl::StatusOr<std::unique_ptr<store::Store>>(const store::StoreOptions&)>;

// What is done when the device is broken.
using DeviceLost = std::function<void(const absl::Status&)>;

class Server {
 public:
  // Opens the store, loads the model, goes on reading documents that were not finished, and serves.
  // The error says in one line what is in the way.
  // `device_lost` is called, on a thread of the server, when the device that computes is broken: no
  // question is answered from then on, and a new process is needed. Nothing that is stored is lost.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const Options& options, const StoreOpener& open_store = store::Store::Open,
      const DeviceLost& device_lost = nullptr);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // With the ports that were chosen.
  const std::string& listen_address() const;
  const std::string& metrics_address() const;

  // NOT_SERVING at once; new calls are refused, questions may finish for options.drain_seconds,
  // documents being read are stored as far as they have come. Returns when all is down.
  void Shutdown();

 private:
  struct Rep;
  explicit Server(std::unique_ptr<Rep> rep);
  std::unique_ptr<Rep> rep_;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_SERVER_H_
