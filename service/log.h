// Structured logs: an event, and fields. Never the text of a document, a question or an answer.
#ifndef LONGLEAF_SERVICE_LOG_H_
#define LONGLEAF_SERVICE_LOG_H_

#include <initializer_list>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace longleaf::service::log {

struct Field {
  absl::string_view name;
  std::string value;
};
using Fields = std::initializer_list<Field>;

// Chooses level ("debug", "info", "warn", "error") and format ("text": key=value, "json": one
// object a line) for the process. Logs go to standard error.
void Configure(const std::string& level, const std::string& format);

// Thread-safe.
void Debug(absl::string_view event, Fields fields = {});
void Info(absl::string_view event, Fields fields = {});
void Warn(absl::string_view event, Fields fields = {});
void Error(absl::string_view event, Fields fields = {});

}  // namespace longleaf::service::log

#endif  // LONGLEAF_SERVICE_LOG_H_
