// One run of the client: the connection, the options that every command has, and the handling of
// deadlines, interrupts and errors that all calls share.
#ifndef LONGLEAF_SERVICE_CLI_SESSION_H_
#define LONGLEAF_SERVICE_CLI_SESSION_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "longleaf/v1/document.grpc.pb.h"
#include "longleaf/v1/model.grpc.pb.h"
#include "longleaf/v1/question.grpc.pb.h"
#include "service/cli/interrupt.h"
#include "service/cli/progress_bar.h"

namespace longleaf::service::cli {

struct GlobalOptions {
  std::string server = "127.0.0.1:7070";
  bool json = false;
  bool quiet = false;
  absl::Duration timeout = absl::InfiniteDuration();
};

// Not thread-safe.
class Session {
 public:
  // Connects lazily. `interrupt` outlives the session.
  Session(const GlobalOptions& options, Interrupt* interrupt);

  v1::DocumentService::Stub& documents() { return *documents_; }
  v1::QuestionService::Stub& questions() { return *questions_; }
  v1::ModelService::Stub& model() { return *model_; }
  Interrupt& interrupt() { return *interrupt_; }
  bool json() const { return options_.json; }
  bool quiet() const { return options_.quiet; }

  // Waits until the first attempt to connect has an outcome; true if the server was ever reached. A
  // command that retries must not when nothing listens there.
  bool Reached();

  // --timeout counts from here (the start of the program, or of a question at the prompt).
  void RestartTimeout();
  absl::Time deadline() const { return deadline_; }

  // How progress is shown: a bar if standard error is a terminal, else lines; none when quiet, nor
  // lines when scripts read the output.
  ProgressBar::Surface ProgressSurface() const;
  // A line on standard error for a person, unless quiet or --json.
  void Say(const std::string& line) const;

  // Prints the error and returns the exit code; kInterrupted if that is why the call ended.
  int Fail(const grpc::Status& status);
  // The same for an error of this side.
  int FailLocally(const std::string& message, int exit_code);

 private:
  const GlobalOptions options_;
  Interrupt* const interrupt_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::DocumentService::Stub> documents_;
  const std::unique_ptr<v1::QuestionService::Stub> questions_;
  const std::unique_ptr<v1::ModelService::Stub> model_;
  bool reached_ = false;
  absl::Time deadline_;
};

// The context of one call: the session's deadline (or an earlier one) and the interrupt.
class Call {
 public:
  explicit Call(Session& session, absl::Duration at_most = absl::InfiniteDuration());
  grpc::ClientContext* context() { return &context_; }

 private:
  grpc::ClientContext context_;
  Interrupt::Guard guard_;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_SESSION_H_
