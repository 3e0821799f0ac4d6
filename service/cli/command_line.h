// The command line: its grammar, its help, and which command it asks for.
#ifndef LONGLEAF_SERVICE_CLI_COMMAND_LINE_H_
#define LONGLEAF_SERVICE_CLI_COMMAND_LINE_H_

#include <functional>

#include "service/cli/session.h"

namespace longleaf::service::cli {

struct CommandLine {
  GlobalOptions global;
  std::function<int(Session&)> run;  // empty: everything is done, end with `exit_code`
  int exit_code = 0;
};

// Prints help and errors of usage itself.
CommandLine ParseCommandLine(int argc, const char* const* argv);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_COMMAND_LINE_H_
