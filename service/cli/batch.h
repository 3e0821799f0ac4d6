// Several questions in one call: answers are shown in the questions' order, each under its question
// and the one whose turn it is as it comes; under --json, a line each as they end.
#ifndef LONGLEAF_SERVICE_CLI_BATCH_H_
#define LONGLEAF_SERVICE_CLI_BATCH_H_

#include <cstddef>
#include <string>
#include <vector>

#include "longleaf/v1/question.pb.h"
#include "service/cli/session.h"

namespace longleaf::service::cli {

struct BatchResult {
  int exit_code = 0;    // of the call, else of the first question that failed
  bool broken = false;  // the call failed, not a question: going on makes no sense
};

// Asks `questions`, all with the document and the options of `request`. `first` is the number of
// the first one, from 0: a long list is asked in several batches. Tried again only if the server
// was unavailable before the first event. Prints errors.
BatchResult AskBatch(Session& session, const v1::AskRequest& request,
                     const std::vector<std::string>& questions, size_t first);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_BATCH_H_
