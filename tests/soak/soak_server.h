// The server under test: in this process, or longleafd as a child that can be killed.
#ifndef LONGLEAF_TESTS_SOAK_SOAK_SERVER_H_
#define LONGLEAF_TESTS_SOAK_SOAK_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "service/options.h"
#include "service/server.h"

namespace longleaf::soak {

// The built-in model on `store`, free ports, small checkpoints.
service::Options SoakOptions(const std::string& store);

// Not thread-safe.
class SoakServer {
 public:
  virtual ~SoakServer() = default;
  // Empty when it came up; else what is wrong.
  virtual std::string Start(const service::Options& options) = 0;
  // As SIGTERM does. Empty when it ended well.
  virtual std::string Stop() = 0;
  virtual const std::string& address() const = 0;
  virtual const std::string& metrics_address() const = 0;
  // Whose /proc shows it.
  virtual pid_t pid() const = 0;
};

std::unique_ptr<SoakServer> ServerInProcess();

class ServerProcess final : public SoakServer {
 public:
  // What longleafd says on stderr is appended to `log`.
  ServerProcess(std::string program, std::string log);
  ~ServerProcess() override;
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  std::string Start(const service::Options& options) override;
  std::string Stop() override;
  const std::string& address() const override { return address_; }
  const std::string& metrics_address() const override { return metrics_address_; }
  pid_t pid() const override { return pid_; }

  // Starts it without waiting for it to be ready; WaitReady does, at most that long. Empty: ready;
  // "not yet"; else what is wrong.
  void Launch(const service::Options& options);
  std::string WaitReady(int64_t milliseconds);
  // SIGKILL. Empty when it lived until then; else how it had ended by itself.
  std::string Kill();

 private:
  std::string Reap(bool killed);

  const std::string program_;
  const std::string log_;
  pid_t pid_ = -1;
  int out_ = -1;
  std::string said_;
  std::string address_;
  std::string metrics_address_;
};

}  // namespace longleaf::soak

#endif  // LONGLEAF_TESTS_SOAK_SOAK_SERVER_H_
