// One question and its answer: streamed to the screen as it comes, or kept for one line of JSON.
#ifndef LONGLEAF_SERVICE_CLI_ANSWER_H_
#define LONGLEAF_SERVICE_CLI_ANSWER_H_

#include <optional>
#include <string>
#include <vector>

#include "longleaf/v1/question.pb.h"
#include "service/cli/json_output.h"
#include "service/cli/session.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {

struct Answer {
  std::string text;
  std::vector<v1::TokenLogprobs> logprobs;
  v1::Started started;
  v1::Finished finished;
};

// The line that Ask ends with under --json.
Json AnswerJson(const v1::AskRequest& request, const Answer& answer);

// "memory, 12,345 tokens reused, 23 read; first token after 0.21 s; 31 tokens at 14.2/s"
std::string AnswerSummary(const v1::AskRequest& request, const Answer& answer);

// The passages, numbered, with byte ranges and the quoted text in lines of `width` columns.
std::string EvidenceText(const v1::Finished& finished, int width);

// A line per token: its log-probability, its text, then the alternatives.
std::string LogprobsText(const std::vector<v1::TokenLogprobs>& logprobs);

// What follows the text of an answer: log-probabilities and passages, if they were asked for, and
// on a terminal the summary. False if standard output cannot be written.
bool PrintDetails(const Session& session, const v1::AskRequest& request, const Answer& answer);

// Asks and shows. Tried again only if the server was unavailable before the first event. Prints
// errors. Returns an ExitCode.
int AskOne(Session& session, const v1::AskRequest& request);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_ANSWER_H_
