// longleafd: the server's process. Options, signals, exit codes; server.h is the service.

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/status/status.h"
#include "cache_store/store.h"
#include "service/log.h"
#include "service/options.h"
#include "service/server.h"

int main(int argc, char** argv) {
  using longleaf::service::Options;
  using longleaf::service::Server;
  namespace log = longleaf::service::log;

  absl::StatusOr<Options> options = longleaf::service::ParseOptions(argc, argv);
  if (absl::IsCancelled(options.status())) {
    std::fputs(std::string(options.status().message()).c_str(), stdout);
    return 0;
  }
  if (!options.ok()) {
    std::fprintf(stderr, "longleafd: %s\n", std::string(options.status().message()).c_str());
    return 2;
  }
  log::Configure(options->log_level, options->log_format);

  // Clients would fill the log with it: whatever is wrong with a message, they are told.
  google::protobuf::SetLogHandler(nullptr);
  gpr_set_log_function([](gpr_log_func_args* line) {
    log::Debug("grpc", {{"text", line->message}});
  });

  // Blocked before any thread starts, so that all inherit it and sigwait below is the only taker.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  // Whoever started this process starts another. Nothing is put away first, as in a crash: states
  // cannot be read from a device that is gone, and all else is in the store.
  const auto device_lost = [](const absl::Status&) { std::_Exit(1); };
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(*options, longleaf::store::Store::Open, device_lost);
  if (!server.ok()) {
    std::fprintf(stderr, "longleafd: %s\n", std::string(server.status().message()).c_str());
    return 1;
  }
  std::printf("longleafd ready listen=%s metrics=%s\n", (*server)->listen_address().c_str(),
              (*server)->metrics_address().c_str());
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  log::Info("shutting down", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
  // A second signal does not wait for anybody.
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  (*server)->Shutdown();
  log::Info("stopped");
  return 0;
}
