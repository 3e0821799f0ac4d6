// longleaf-eval ask: one document, one question, without a server; the same prompt and seams as
// with one.
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "service/eval/answer.h"
#include "service/eval/commands.h"
#include "service/eval/progress.h"
#include "service/eval/read_file.h"
#include "service/eval/session.h"

namespace longleaf::service::eval {
namespace {

struct AskOptions {
  SessionOptions session;
  std::string document;
  std::vector<std::string> questions;
  std::vector<std::string> attention;
  int64_t max_tokens = 0;
};

absl::Status Run(const AskOptions& options) {
  auto session = Session::Open(options.session);
  if (!session.ok()) return session.status();
  auto text = TextModel::Load(**session);
  if (!text.ok()) return text.status();
  auto document = ReadFile(options.document);
  if (!document.ok()) return document.status();
  auto ids = (*text)->DocumentIds(*document);
  if (!ids.ok()) return ids.status();
  auto policies = (*session)->Policies(options.attention);
  if (!policies.ok()) return policies.status();
  for (const kernels::AttentionPolicy& policy : *policies) {
    if (policies->size() > 1) absl::PrintF("%s\n", policy.ToString());
    auto state = (*session)->NewState(policy);
    if (!state.ok()) return state.status();
    {
      Progress progress("tokens", static_cast<int64_t>(ids->size()));
      const auto step_done = [&progress](int64_t done, const kernels::Tensor&) {
        progress.Update(done);
        return absl::OkStatus();
      };
      if (absl::Status status = (*session)->Read(**state, *ids, 0, step_done); !status.ok()) {
        return status;
      }
    }
    for (const std::string& question : options.questions) {
      auto answer = Answer(**session, **text, **state, question, options.max_tokens,
                           [](std::string_view part) {
                             std::fwrite(part.data(), 1, part.size(), stdout);
                             std::fflush(stdout);
                           });
      if (!answer.ok()) return answer.status();
      std::fputc('\n', stdout);
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddAskCommand(CLI::App& app, Action& chosen) {
  CLI::App* command = app.add_subcommand("ask", "Answer questions about a text, greedily");
  auto options = std::make_shared<AskOptions>();
  AddSessionFlags(*command, options->session);
  command->add_option("--document", options->document, "UTF-8 text file")->required();
  command->add_option("--question", options->questions, "Question; may be given several times")
      ->required();
  AddAttentionFlag(*command, options->attention);
  command
      ->add_option("--max-tokens", options->max_tokens,
                   "Longest answer; 0: as the model's prompt file says")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->callback([options, &chosen] { chosen = [options] { return Run(*options); }; });
}

}  // namespace longleaf::service::eval
