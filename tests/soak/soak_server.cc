#include "tests/soak/soak_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

namespace longleaf::soak {
namespace {

class InProcess final : public SoakServer {
 public:
  std::string Start(const service::Options& options) override {
    absl::StatusOr<std::unique_ptr<service::Server>> server = service::Server::Start(options);
    if (!server.ok()) {
      return std::string(server.status().message());
    }
    server_ = *std::move(server);
    address_ = server_->listen_address();
    metrics_address_ = server_->metrics_address();
    return "";
  }
  std::string Stop() override {
    server_->Shutdown();
    server_.reset();
    return "";
  }
  const std::string& address() const override { return address_; }
  const std::string& metrics_address() const override { return metrics_address_; }
  pid_t pid() const override { return getpid(); }

 private:
  std::unique_ptr<service::Server> server_;
  std::string address_;
  std::string metrics_address_;
};

std::string ValueOf(const std::string& line, const std::string& key) {
  const size_t at = line.find(key + "=");
  if (at == std::string::npos) {
    return "";
  }
  const size_t begin = at + key.size() + 1;
  return line.substr(begin, line.find_first_of(" \n", begin) - begin);
}

}  // namespace

service::Options SoakOptions(const std::string& store) {
  service::Options options;
  options.listen = "127.0.0.1:0";
  options.metrics_listen = "127.0.0.1:0";
  options.store_path = store;
  options.model_path = LONGLEAF_SOURCE_DIR "/model/demo";
  options.device = "cpu";
  // Answers are held against answers given alone: rounding may not decide.
  options.weights = "f32";
  options.state_dtype = "f32";
  options.threads = 2;
  options.state_memory_bytes = int64_t{256} << 20;
  options.disk_cap_bytes = int64_t{1} << 30;
  options.checkpoint_tokens = 1024;
  options.prefill_chunk = 256;
  options.drain_seconds = 2;
  options.log_level = "error";
  return options;
}

std::unique_ptr<SoakServer> ServerInProcess() { return std::make_unique<InProcess>(); }

ServerProcess::ServerProcess(std::string program, std::string log)
    : program_(std::move(program)), log_(std::move(log)) {}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) {
    Kill();
  }
}

void ServerProcess::Launch(const service::Options& options) {
  std::vector<std::string> arguments = {program_,
                                        "--model",
                                        options.model_path,
                                        "--store",
                                        options.store_path,
                                        "--device",
                                        options.device,
                                        "--weights",
                                        options.weights,
                                        "--state-dtype",
                                        options.state_dtype,
                                        "--listen",
                                        options.listen,
                                        "--metrics-listen",
                                        options.metrics_listen,
                                        "--log-level",
                                        "warn"};
  const auto number = [&arguments](const char* name, int64_t value) {
    arguments.push_back(name);
    arguments.push_back(std::to_string(value));
  };
  number("--threads", options.threads);
  number("--state-memory", options.state_memory_bytes);
  number("--disk-cap", options.disk_cap_bytes);
  number("--checkpoint-tokens", options.checkpoint_tokens);
  number("--prefill-chunk", options.prefill_chunk);
  number("--drain-seconds", static_cast<int64_t>(options.drain_seconds));
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  argv.push_back(nullptr);
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) {
    return;
  }
  const int log = open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // no server outlives a test that died
    dup2(fds[1], STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(fds[1]);
  close(log);
  out_ = fds[0];
  said_.clear();
}

std::string ServerProcess::WaitReady(int64_t milliseconds) {
  while (said_.find('\n') == std::string::npos) {
    pollfd waiting = {out_, POLLIN, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(milliseconds));
    if (ready == 0) {
      return "not yet";
    }
    char buffer[1024];
    const ssize_t got = ready < 0 ? -1 : read(out_, buffer, sizeof(buffer));
    if (got <= 0) {
      return "it ended before it was ready: " + Reap(/*killed=*/false);
    }
    said_.append(buffer, static_cast<size_t>(got));
  }
  address_ = ValueOf(said_, "listen");
  metrics_address_ = ValueOf(said_, "metrics");
  return address_.empty() ? "it said: " + said_ : "";
}

std::string ServerProcess::Start(const service::Options& options) {
  Launch(options);
  const std::string wrong = WaitReady(60'000);
  if (!wrong.empty() && pid_ > 0) {
    Kill();
  }
  return wrong;
}

std::string ServerProcess::Kill() {
  kill(pid_, SIGKILL);
  return Reap(/*killed=*/true);
}

std::string ServerProcess::Stop() {
  kill(pid_, SIGTERM);
  return Reap(/*killed=*/false);
}

std::string ServerProcess::Reap(bool killed) {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  close(out_);
  out_ = -1;
  if (killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
    return "";
  }
  if (WIFEXITED(status)) {
    return WEXITSTATUS(status) == 0 && !killed
               ? ""
               : "exit code " + std::to_string(WEXITSTATUS(status)) + ", see " + log_;
  }
  return "signal " + std::to_string(WTERMSIG(status)) + ", see " + log_;
}

}  // namespace longleaf::soak
