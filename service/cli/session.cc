#include "service/cli/session.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "service/cli/channel.h"
#include "service/cli/exit_code.h"
#include "service/cli/status_text.h"
#include "service/cli/terminal.h"

namespace longleaf::service::cli {
namespace {

// Longer than this a TCP connection does not take to come about.
constexpr absl::Duration kConnectTimeout = absl::Seconds(15);

absl::Duration SinceAnyMoment() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

Session::Session(const GlobalOptions& options, Interrupt* interrupt)
    : options_(options),
      interrupt_(interrupt),
      channel_(MakeChannel(options.server)),
      documents_(v1::DocumentService::NewStub(channel_)),
      questions_(v1::QuestionService::NewStub(channel_)),
      model_(v1::ModelService::NewStub(channel_)) {
  RestartTimeout();
}

bool Session::Reached() {
  const absl::Time give_up = std::min(absl::Now() + kConnectTimeout, deadline_);
  while (!reached_) {
    const grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
    reached_ = state == GRPC_CHANNEL_READY;
    if (reached_ || state == GRPC_CHANNEL_TRANSIENT_FAILURE || state == GRPC_CHANNEL_SHUTDOWN ||
        absl::Now() >= give_up || interrupt_->requested()) {
      break;
    }
    // In steps, to notice an interrupt.
    channel_->WaitForStateChange(state, absl::ToChronoTime(absl::Now() + absl::Milliseconds(100)));
  }
  return reached_;
}

void Session::RestartTimeout() { deadline_ = absl::Now() + options_.timeout; }

ProgressBar::Surface Session::ProgressSurface() const {
  const bool terminal = IsTerminal(STDERR_FILENO);
  const ProgressBar::Style style = options_.quiet  ? ProgressBar::Style::kNone
                                   : terminal      ? ProgressBar::Style::kBar
                                   : options_.json ? ProgressBar::Style::kNone
                                                   : ProgressBar::Style::kLines;
  return {style, &WriteError, &TerminalWidth, &SinceAnyMoment};
}

void Session::Say(const std::string& line) const {
  if (!options_.quiet && !options_.json) {
    WriteError(line + "\n");
  }
}

int Session::Fail(const grpc::Status& status) {
  if (interrupt_->requested()) {
    return FailLocally("interrupted", kInterrupted);
  }
  const Failure failure = DecodeFailure(status);
  WriteError(ErrorLine(failure, options_.server));
  return ExitCodeFor(failure);
}

int Session::FailLocally(const std::string& message, int exit_code) {
  WriteError(LocalErrorLine(message));
  return exit_code;
}

Call::Call(Session& session, absl::Duration at_most) : guard_(&session.interrupt(), &context_) {
  const absl::Time deadline = std::min(session.deadline(), absl::Now() + at_most);
  if (deadline != absl::InfiniteFuture()) {
    context_.set_deadline(absl::ToChronoTime(deadline));
  }
}

}  // namespace longleaf::service::cli
