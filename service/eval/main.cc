// longleaf-eval: what a checkpoint does and how fast, without a server.
//
// Exit codes: 0 done, 1 the command failed, 2 the command line is wrong. An error is one line on
// stderr.
#include <cstdio>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "service/eval/commands.h"

namespace longleaf::service::eval {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

void PrintError(std::string message) {
  absl::FPrintF(stderr, "longleaf-eval: %s\n", absl::StrReplaceAll(message, {{"\n", "; "}}));
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Measures and judges a checkpoint with the engine that longleafd serves it with.\n"
      "POLICY is one of full, cca:g=16,w=1024,heads=query|kv, streaming:sinks=4,w=1024; without\n"
      "--attention the model's config.json decides.",
      "longleaf-eval");
  app.require_subcommand(1);
  Action chosen;
  AddLogitsCommand(app, chosen);
  AddPerplexityCommand(app, chosen);
  AddNeedleCommand(app, chosen);
  AddQaCommand(app, chosen);
  AddAskCommand(app, chosen);
  AddBenchCommand(app, chosen);
  AddRandomModelCommand(app, chosen);
  AddVerifyStoreCommand(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    PrintError(error.what());
    return kUsage;
  }
  const absl::Status status = chosen();
  if (status.ok()) return 0;
  PrintError(std::string(status.message()));
  return status.code() == absl::StatusCode::kInvalidArgument ? kUsage : kFailed;
}

}  // namespace
}  // namespace longleaf::service::eval

int main(int argc, char** argv) { return longleaf::service::eval::Main(argc, argv); }
