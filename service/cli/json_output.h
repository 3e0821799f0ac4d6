// What --json prints: the fields of the proto messages, enumerators in lower case without their
// prefix, times as RFC 3339, durations as seconds, hashes as hex. One object per line.
#ifndef LONGLEAF_SERVICE_CLI_JSON_OUTPUT_H_
#define LONGLEAF_SERVICE_CLI_JSON_OUTPUT_H_

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/time.h"
#include "longleaf/v1/document.pb.h"
#include "longleaf/v1/model.pb.h"
#include "longleaf/v1/question.pb.h"
#include "service/cli/status_text.h"

namespace longleaf::service::cli {

using Json = nlohmann::ordered_json;

absl::Duration ToDuration(const google::protobuf::Duration& duration);
absl::Time ToTime(const google::protobuf::Timestamp& timestamp);

// "active", "memory", "max_tokens"; the number of one that this client does not know.
std::string Word(v1::DocumentState state);
std::string Word(v1::StateTier tier);
std::string Word(v1::FinishReason reason);

Json ToJson(const v1::Progress& progress);
Json ToJson(const v1::Document& document);
Json ToJson(const v1::Model& model);
Json ToJson(const v1::Evidence& evidence);
Json ToJson(const v1::TokenLogprobs& logprobs);
Json ToJson(const Failure& failure);
// An event of the watch on `name`.
Json ToJson(const std::string& name, const v1::WatchDocumentResponse& event);

// False if standard output cannot be written. Text that is not UTF-8 has its bad bytes replaced.
bool PrintJson(const Json& json);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_JSON_OUTPUT_H_
