// `longleaf ask`: one question, several at the same time, or a prompt for one after another.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "service/cli/answer.h"
#include "service/cli/batch.h"
#include "service/cli/commands.h"
#include "service/cli/exit_code.h"
#include "service/cli/line_reader.h"
#include "service/cli/names.h"
#include "service/cli/quantity.h"
#include "service/cli/terminal.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {
namespace {

// Questions of a long list that are asked at the same time; what servers allow if not told
// otherwise.
constexpr size_t kBatch = 64;

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

// Asks a list batch by batch. A question that fails does not end it; a call that fails does.
class ListOfQuestions {
 public:
  ListOfQuestions(Session& session, const v1::AskRequest& request)
      : session_(session), request_(request) {}

  // Asks when there are enough. False if there is no sense in going on.
  bool Add(std::string question) {
    waiting_.push_back(std::move(question));
    return waiting_.size() < kBatch || AskWaiting();
  }
  bool AskWaiting() {
    if (waiting_.empty()) {
      return true;
    }
    const BatchResult result = AskBatch(session_, request_, waiting_, asked_);
    asked_ += waiting_.size();
    waiting_.clear();
    exit_code_ = result.broken || exit_code_ == kOk ? result.exit_code : exit_code_;
    return !result.broken;
  }

  bool empty() const { return asked_ == 0 && waiting_.empty(); }
  int exit_code() const { return exit_code_; }

 private:
  Session& session_;
  const v1::AskRequest& request_;
  std::vector<std::string> waiting_;
  size_t asked_ = 0;
  int exit_code_ = kOk;
};

int AskAll(Session& session, const v1::AskRequest& request,
           const std::vector<std::string>& questions) {
  ListOfQuestions list(session, request);
  const bool open = std::all_of(questions.begin(), questions.end(),
                                [&list](const std::string& text) { return list.Add(text); });
  if (open) {
    list.AskWaiting();
  }
  return list.exit_code();
}

int AskFromOpenFile(Session& session, const v1::AskRequest& request, const std::string& name,
                    int fd) {
  ListOfQuestions list(session, request);
  LineReader reader(fd, &session.interrupt());
  for (int64_t number = 1;; ++number) {
    const absl::StatusOr<std::optional<std::string>> line = reader.Next();
    if (!line.ok()) {
      return absl::IsCancelled(line.status())
                 ? session.FailLocally("interrupted", kInterrupted)
                 : session.FailLocally(absl::StrCat(name, ": ", line.status().message()), kUsage);
    }
    if (!line->has_value()) {
      break;
    }
    const std::string question(absl::StripAsciiWhitespace(**line));
    if (!IsValidUtf8(question)) {
      return session.FailLocally(absl::StrCat(name, ": line ", number, " is not UTF-8"), kUsage);
    }
    if (!question.empty() && !list.Add(question)) {
      return list.exit_code();
    }
  }
  list.AskWaiting();
  return list.empty() ? session.FailLocally(absl::StrCat(name, ": no questions in it"), kUsage)
                      : list.exit_code();
}

int AskFromFile(Session& session, const v1::AskRequest& request, const std::string& path) {
  if (path == "-") {
    return AskFromOpenFile(session, request, "standard input", STDIN_FILENO);
  }
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return session.FailLocally(absl::StrCat(path, ": ", std::strerror(errno)), kUsage);
  }
  const int code = AskFromOpenFile(session, request, path, fd);
  close(fd);
  return code;
}

}  // namespace

int Ask(Session& session, const AskOptions& options) {
  v1::AskRequest request;
  request.set_document(DocumentName(options.document));
  *request.mutable_sampling() = options.sampling;
  request.set_max_evidence(options.evidence);
  request.set_allow_partial(options.partial);
  if (!options.questions_path.empty()) {
    return AskFromFile(session, request, options.questions_path);
  }
  if (options.questions.empty()) {
    return Prompt(session, request);
  }
  if (options.questions.size() > 1) {
    return AskAll(session, request, options.questions);
  }
  request.set_question(options.questions.front());
  return AskOne(session, request);
}

}  // namespace longleaf::service::cli
