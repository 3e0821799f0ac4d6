// `longleaf`, the client: documents and questions from a terminal or a script.
#include <cstdlib>

#include "service/cli/command_line.h"
#include "service/cli/interrupt.h"
#include "service/cli/session.h"

int main(int argc, char** argv) {
  // gRPC's own log is for its developers; what the user needs to know is in the error line.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  namespace cli = longleaf::service::cli;
  const cli::CommandLine command = cli::ParseCommandLine(argc, argv);
  if (!command.run) {
    return command.exit_code;
  }
  // Before gRPC starts threads of its own.
  cli::Interrupt* const interrupt = cli::Interrupt::Install();
  cli::Session session(command.global, interrupt);
  return command.run(session);
}
