// `longleaf-bench`, the load generator: how a server answers when many ask.
#include <unistd.h>

#include <cstdlib>

#include "service/bench/options.h"
#include "service/bench/run.h"
#include "service/bench/surface.h"
#include "service/cli/interrupt.h"
#include "service/cli/terminal.h"

int main(int argc, char** argv) {
  // gRPC's own log is for its developers; what the user needs to know is in the error line.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  namespace bench = longleaf::service::bench;
  namespace cli = longleaf::service::cli;
  const bench::CommandLine command = bench::ParseCommandLine(argc, argv);
  if (!command.run) {
    return command.exit_code;
  }
  // Before gRPC starts threads of its own.
  cli::Interrupt* const interrupt = cli::Interrupt::Install();
  const bench::Surface surface = {.output = cli::WriteOutput,
                                  .message = cli::WriteError,
                                  .interrupted = [interrupt] { return interrupt->requested(); },
                                  .terminal = cli::IsTerminal(STDERR_FILENO),
                                  .width = cli::TerminalWidth};
  return bench::RunBench(command.options, surface);
}
