// longleaf-eval logits: what the production engine computes for given tokens, to compare with other
// programs.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "service/eval/commands.h"
#include "service/eval/progress.h"
#include "service/eval/read_file.h"
#include "service/eval/session.h"
#include "service/eval/tensor_file.h"

namespace longleaf::service::eval {
namespace {

struct LogitsOptions {
  SessionOptions session;
  std::string tokens;
  std::string attention;
  int64_t last = 0;  // 0: all
  std::string out;
};

absl::Status Run(const LogitsOptions& options) {
  auto tokens = ReadTokens(options.tokens);
  if (!tokens.ok()) return tokens.status();
  const auto count = static_cast<int64_t>(tokens->size());
  const int64_t outputs = options.last > 0 ? std::min(options.last, count) : count;

  auto session = Session::Open(options.session, /*wanted_outputs=*/0);
  if (!session.ok()) return session.status();
  auto policies =
      (*session)->Policies(options.attention.empty() ? std::vector<std::string>{}
                                                     : std::vector<std::string>{options.attention});
  if (!policies.ok()) return policies.status();
  auto state = (*session)->NewState(policies->front());
  if (!state.ok()) return state.status();

  const int64_t vocab = (*session)->config().vocab;
  auto file = TensorFileWriter::Create(options.out, {{"logits", "F32", {outputs, vocab}}});
  if (!file.ok()) return file.status();
  Progress progress("tokens", count);
  std::vector<float> rows;
  const auto write = [&](int64_t done, const kernels::Tensor& logits) -> absl::Status {
    progress.Update(done);
    rows.resize(static_cast<size_t>(logits.rows * logits.cols));
    if (rows.empty()) return absl::OkStatus();
    if (absl::Status status = (*session)->backend().ToHost(logits, rows.data()); !status.ok()) {
      return status;
    }
    return (*file)->AppendValues<float>(rows);
  };
  if (absl::Status status = (*session)->Read(**state, *tokens, outputs, write); !status.ok()) {
    return status;
  }
  return (*file)->Finish();
}

}  // namespace

void AddLogitsCommand(CLI::App& app, Action& chosen) {
  CLI::App* command = app.add_subcommand("logits", "Logits of given tokens, as a safetensors file");
  auto options = std::make_shared<LogitsOptions>();
  AddSessionFlags(*command, options->session);
  command->add_option("--tokens", options->tokens, "safetensors file with `tokens`, I32 [T]")
      ->required();
  command->add_option("--attention", options->attention, "Attention policy");
  command
      ->add_option("--first-position", options->session.first_position,
                   "Rotary position of the first token")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--last", options->last, "Logits of the last N tokens only; 0: of all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--out", options->out, "File to write: `logits`, F32 [T or N, vocab]")
      ->required();
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
