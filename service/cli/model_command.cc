// `longleaf model`: what is served, and what a document costs.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/cli/commands.h"
#include "service/cli/exit_code.h"
#include "service/cli/json_output.h"
#include "service/cli/quantity.h"
#include "service/cli/terminal.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {
namespace {

// The state of a document of `tokens` tokens beside the cache that other servers keep.
std::string Cost(const v1::Model& model, int64_t tokens) {
  const auto n = static_cast<double>(tokens);
  const double state =
      static_cast<double>(model.state_bytes_fixed()) + n * model.state_bytes_per_token();
  const double full = n * model.full_cache_bytes_per_token();
  std::string text = absl::StrFormat("%s for %s tokens", FormatBytes(state), FormatCount(tokens));
  if (full > 0) {
    absl::StrAppendFormat(&text, " (%.0f%% of a full cache, %s)", 100 * state / full,
                          FormatBytes(full));
  }
  return text;
}

std::string Describe(const v1::Model& model) {
  std::string text;
  const auto field = [&](const char* name, const std::string& value) {
    absl::StrAppendFormat(&text, "%-12s %s\n", name, EscapeLine(value));
  };
  field("model", model.display_name());
  field("architecture",
        absl::StrCat(model.architecture(), ", ", FormatCount(model.layers()), " layers, ",
                     FormatCount(model.parameters()), " parameters in ", model.weight_format()));
  field("context",
        absl::StrCat(FormatCount(model.context_length()), " tokens; a document may have ",
                     FormatCount(model.max_document_tokens())));
  field("attention",
        absl::StrCat(model.attention(), model.attention_overridden()
                                            ? " (the operator's choice, not the checkpoint's)"
                                            : ""));
  field("state", Cost(model, model.max_document_tokens()) + ", " + model.state_dtype());
  field("device", model.device());
  field("fingerprint", model.fingerprint());
  field("server", model.version());
  return text;
}

}  // namespace

int ShowModel(Session& session) {
  Call call(session);
  v1::Model model;
  const grpc::Status status =
      session.model().GetModel(call.context(), v1::GetModelRequest(), &model);
  if (!status.ok()) {
    return session.Fail(status);
  }
  const bool printed = session.json() ? PrintJson(ToJson(model)) : WriteOutput(Describe(model));
  return printed ? kOk : session.FailLocally("cannot write the output", kRefused);
}

}  // namespace longleaf::service::cli
