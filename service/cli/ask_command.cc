// `longleaf ask`: one question, or a prompt for one after another.
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "service/cli/answer.h"
#include "service/cli/commands.h"
#include "service/cli/exit_code.h"
#include "service/cli/line_reader.h"
#include "service/cli/names.h"
#include "service/cli/quantity.h"
#include "service/cli/terminal.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {
namespace {

// What is asked, and how to leave. Finds out early that there is no such document.
int Greet(Session& session, const std::string& name) {
  Call call(session);
  v1::GetDocumentRequest request;
  request.set_name(name);
  v1::Document document;
  if (const grpc::Status status =
          session.documents().GetDocument(call.context(), request, &document);
      !status.ok()) {
    return session.Fail(status);
  }
  const std::string title =
      document.display_name().empty() ? document.name() : document.display_name();
  session.Say(absl::StrCat("Asking ", EscapeLine(title), ", ", FormatCount(document.token_count()),
                           " tokens. An empty line or Ctrl-D ends, Ctrl-C stops an answer."));
  if (document.state() != v1::DOCUMENT_STATE_ACTIVE) {
    session.Say(absl::StrCat("It is ", Word(document.state()),
                             " and cannot be asked yet, but with --partial."));
  }
  return kOk;
}

// Questions from standard input until it ends. On a terminal, errors and interrupted answers lead
// back to the prompt; in a pipe, the first of them ends the run.
int Prompt(Session& session, v1::AskRequest request) {
  const bool interactive = IsTerminal(STDIN_FILENO);
  if (interactive) {
    if (const int code = Greet(session, request.document()); code != kOk) {
      return code;
    }
  }
  LineReader reader(STDIN_FILENO, &session.interrupt());
  for (;;) {
    if (interactive) {
      WriteError("\n? ");
    }
    const absl::StatusOr<std::optional<std::string>> line = reader.Next();
    if (!line.ok()) {
      if (interactive) {
        WriteError("\n");
      }
      return absl::IsCancelled(line.status())
                 ? session.FailLocally("interrupted", kInterrupted)
                 : session.FailLocally(std::string(line.status().message()), kUsage);
    }
    if (!line->has_value()) {
      if (interactive) {
        WriteError("\n");
      }
      return kOk;
    }
    const std::string question(absl::StripAsciiWhitespace(**line));
    if (question.empty() || question == "/quit") {
      return kOk;
    }
    int code = kUsage;
    if (!IsValidUtf8(question)) {
      code = session.FailLocally("the question is not UTF-8", kUsage);
    } else {
      request.set_question(question);
      session.RestartTimeout();
      code = AskOne(session, request);
    }
    if (interactive) {
      session.interrupt().Clear();
    } else if (code != kOk) {
      return code;
    }
  }
}

}  // namespace

int Ask(Session& session, const AskOptions& options) {
  v1::AskRequest request;
  request.set_document(DocumentName(options.document));
  *request.mutable_sampling() = options.sampling;
  request.set_max_evidence(options.evidence);
  request.set_allow_partial(options.partial);
  if (options.question.empty()) {
    return Prompt(session, request);
  }
  request.set_question(options.question);
  return AskOne(session, request);
}

}  // namespace longleaf::service::cli
