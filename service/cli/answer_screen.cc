#include "service/cli/answer_screen.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include "service/cli/json_output.h"
#include "service/cli/terminal.h"

namespace longleaf::service::cli {

AnswerScreen::AnswerScreen(const Session& session)
    : show_(!session.json()),
      escape_(IsTerminal(STDOUT_FILENO)),
      bar_("reading again", ProgressUnit::kTokens, session.ProgressSurface()) {}

void AnswerScreen::Progress(const v1::Progress& progress) {
  std::optional<absl::Duration> left;
  if (progress.has_eta()) {
    left = ToDuration(progress.eta());
  }
  bar_.Update(progress.tokens_done(), progress.tokens_total(), left);
}

bool AnswerScreen::Text(const std::string& text) {
  bar_.Finish("");
  if (!show_) {
    return true;
  }
  std::string shown = escape_ ? escaper_.Add(text) : text;
  if (at_start_) {
    // Models begin with a space or a newline that belongs to the prompt's form, not to the answer.
    shown.erase(0, std::min(shown.find_first_not_of(" \n"), shown.size()));
  }
  if (!shown.empty()) {
    at_start_ = false;
    ended_line_ = shown.back() == '\n';
  }
  return WriteOutput(shown);
}

bool AnswerScreen::End() {
  bar_.Finish("");
  const std::string rest = escape_ ? escaper_.Finish() : "";
  const bool newline = !(at_start_ && rest.empty()) && !(ended_line_ && rest.empty());
  return !show_ || WriteOutput(rest + (newline ? "\n" : ""));
}

}  // namespace longleaf::service::cli
