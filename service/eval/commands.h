// The commands of longleaf-eval. Each is in a file of its own, declares its flags here and leaves
// what it does in `chosen` when the command line names it.
#ifndef LONGLEAF_SERVICE_EVAL_COMMANDS_H_
#define LONGLEAF_SERVICE_EVAL_COMMANDS_H_

#include <functional>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"

namespace longleaf::service::eval {

// Prints results to stdout and progress to stderr; an error is for main to print.
using Action = std::function<absl::Status()>;

// `app` and `chosen` outlive the parsing; a chosen action outlives neither.
void AddLogitsCommand(CLI::App& app, Action& chosen);
void AddPerplexityCommand(CLI::App& app, Action& chosen);
void AddNeedleCommand(CLI::App& app, Action& chosen);
void AddQaCommand(CLI::App& app, Action& chosen);
void AddAskCommand(CLI::App& app, Action& chosen);
void AddBenchCommand(CLI::App& app, Action& chosen);
void AddRandomModelCommand(CLI::App& app, Action& chosen);
void AddVerifyStoreCommand(CLI::App& app, Action& chosen);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_COMMANDS_H_
