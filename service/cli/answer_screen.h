// What is seen of one answer while it comes.
#ifndef LONGLEAF_SERVICE_CLI_ANSWER_SCREEN_H_
#define LONGLEAF_SERVICE_CLI_ANSWER_SCREEN_H_

#include <string>

#include "longleaf/v1/document.pb.h"
#include "service/cli/progress_bar.h"
#include "service/cli/session.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {

// With --json only the progress is seen. Not thread-safe. The functions that write are false once
// standard output cannot be written.
class AnswerScreen {
 public:
  explicit AnswerScreen(const Session& session);

  void Progress(const v1::Progress& progress);
  bool Text(const std::string& text);
  // The answer is over, for better or worse: the cursor goes to the start of a line.
  bool End();

 private:
  const bool show_;
  const bool escape_;
  ProgressBar bar_;
  TerminalEscaper escaper_;
  bool at_start_ = true;
  bool ended_line_ = false;
};

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_ANSWER_SCREEN_H_
