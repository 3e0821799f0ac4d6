// Following a document until the model has read it: for `watch` and for `upload --wait`.
#ifndef LONGLEAF_SERVICE_CLI_FOLLOW_H_
#define LONGLEAF_SERVICE_CLI_FOLLOW_H_

#include <functional>
#include <string>

#include "longleaf/v1/document.pb.h"
#include "service/cli/session.h"

namespace longleaf::service::cli {

// Shows progress on standard error and calls `on_event` (which may be empty) for every event, until
// the document is ACTIVE or FAILED. A connection that breaks is taken up again, a few times. Prints
// errors, also that of a FAILED document. Returns an ExitCode.
int Follow(Session& session, const std::string& name,
           const std::function<bool(const v1::WatchDocumentResponse&)>& on_event);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_FOLLOW_H_
