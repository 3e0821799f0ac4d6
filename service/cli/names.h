// Names of documents and of upload requests.
#ifndef LONGLEAF_SERVICE_CLI_NAMES_H_
#define LONGLEAF_SERVICE_CLI_NAMES_H_

#include <string>

namespace longleaf::service::cli {

// "documents/whale" for both "whale" and "documents/whale".
std::string DocumentName(const std::string& name_or_id);

// A random UUID (version 4).
std::string NewRequestId();

// An id for a document that was given none: the file's base name in the letters that ids may have,
// and eight characters that depend on the request only. So a retry of the request names the same
// document, and two uploads of one file do not collide. A client must know the id before the upload
// ends: QueryUpload needs it when the connection breaks.
std::string DocumentIdFor(const std::string& path, const std::string& request_id);

// What follows the last slash; empty for "-".
std::string BaseName(const std::string& path);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_NAMES_H_
