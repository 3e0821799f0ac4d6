// The real client binary as a child process: its streams are pipes, or one terminal.
#ifndef LONGLEAF_TESTS_SERVICE_CLI_CLIENT_PROCESS_H_
#define LONGLEAF_TESTS_SERVICE_CLI_CLIENT_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace longleaf::service::cli {

class ClientProcess {
 public:
  enum class Streams { kPipes, kTerminal };
  struct Result {
    int exit_code = -1;  // 128 + n when signal n ended it
    std::string out;     // on a terminal: everything
    std::string err;
  };

  // Starts `longleaf --server server arguments...`. The environment is small and fixed.
  ClientProcess(const std::string& server, const std::vector<std::string>& arguments,
                Streams streams = Streams::kPipes);
  // Kills what is still running.
  ~ClientProcess();
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;

  // Standard input; blocks while the client does not read, so not for more than a pipe holds.
  void Write(const std::string& text);
  void CloseInput();
  void Interrupt();  // SIGINT
  // Reads until both streams together contain `text`; false if the client ended first, or hung.
  bool WaitFor(const std::string& text);
  // Closes input, reads until the end.
  Result Finish();

 private:
  // One round of reading; false when both streams are at their end, or nothing comes for minutes.
  bool Pump();

  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  int err_ = -1;
  Result result_;
};

// For the simple cases: run, with this input, to the end.
ClientProcess::Result RunClient(const std::string& server,
                                const std::vector<std::string>& arguments,
                                const std::string& input = "");

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_TESTS_SERVICE_CLI_CLIENT_PROCESS_H_
