#include "service/cli/json_output.h"

#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "service/cli/terminal.h"

namespace longleaf::service::cli {
namespace {

// `name` is the enumerator's; protobuf gives an empty one for a number that it does not know.
std::string LowerWord(absl::string_view name, absl::string_view prefix, int number) {
  if (!absl::ConsumePrefix(&name, prefix)) {
    return absl::StrCat(number);
  }
  return absl::AsciiStrToLower(name);
}

Json Time(const google::protobuf::Timestamp& timestamp) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", ToTime(timestamp), absl::UTCTimeZone());
}

Json Candidate(const v1::TokenLogprobs::Candidate& candidate) {
  return {
      {"token", candidate.token()}, {"text", candidate.text()}, {"logprob", candidate.logprob()}};
}

}  // namespace

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

std::string Word(v1::DocumentState state) {
  return LowerWord(v1::DocumentState_Name(state), "DOCUMENT_STATE_", state);
}
std::string Word(v1::StateTier tier) {
  return LowerWord(v1::StateTier_Name(tier), "STATE_TIER_", tier);
}
std::string Word(v1::FinishReason reason) {
  return LowerWord(v1::FinishReason_Name(reason), "FINISH_REASON_", reason);
}

Json ToJson(const v1::Progress& progress) {
  Json json = {{"tokens_total", progress.tokens_total()},
               {"tokens_done", progress.tokens_done()},
               {"tokens_reused", progress.tokens_reused()}};
  if (progress.has_eta()) {
    json["eta_seconds"] = absl::ToDoubleSeconds(ToDuration(progress.eta()));
  }
  return json;
}

Json ToJson(const v1::Document& document) {
  Json json = {{"name", document.name()}, {"display_name", document.display_name()}};
  // A protobuf map has no order of its own; scripts that compare lines want one.
  const std::map<std::string, std::string> labels(document.labels().begin(),
                                                  document.labels().end());
  json["labels"] = Json::object();
  for (const auto& [key, value] : labels) {
    json["labels"][key] = value;
  }
  json["state"] = Word(document.state());
  if (document.has_create_time()) {
    json["create_time"] = Time(document.create_time());
  }
  if (document.has_update_time()) {
    json["update_time"] = Time(document.update_time());
  }
  if (document.has_expire_time()) {
    json["expire_time"] = Time(document.expire_time());
  }
  json["text_bytes"] = document.text_bytes();
  json["token_count"] = document.token_count();
  json["text_sha256"] = absl::BytesToHexString(document.text_sha256());
  if (document.has_progress()) {
    json["progress"] = ToJson(document.progress());
  }
  if (!document.failure().empty()) {
    json["failure"] = document.failure();
  }
  json["etag"] = document.etag();
  return json;
}

Json ToJson(const v1::Model& model) {
  return {{"display_name", model.display_name()},
          {"architecture", model.architecture()},
          {"parameters", model.parameters()},
          {"layers", model.layers()},
          {"context_length", model.context_length()},
          {"max_document_tokens", model.max_document_tokens()},
          {"attention", model.attention()},
          {"attention_overridden", model.attention_overridden()},
          {"weight_format", model.weight_format()},
          {"state_dtype", model.state_dtype()},
          {"state_bytes_per_token", model.state_bytes_per_token()},
          {"state_bytes_fixed", model.state_bytes_fixed()},
          {"full_cache_bytes_per_token", model.full_cache_bytes_per_token()},
          {"fingerprint", model.fingerprint()},
          {"device", model.device()},
          {"version", model.version()}};
}

Json ToJson(const v1::Evidence& evidence) {
  return {{"begin_byte", evidence.begin_byte()},
          {"end_byte", evidence.end_byte()},
          {"weight", evidence.weight()},
          {"text", evidence.text()}};
}

Json ToJson(const v1::TokenLogprobs& logprobs) {
  Json json = Candidate(logprobs.chosen());
  json["top"] = Json::array();
  for (const v1::TokenLogprobs::Candidate& candidate : logprobs.top()) {
    json["top"].push_back(Candidate(candidate));
  }
  return json;
}

Json ToJson(const Failure& failure) {
  Json json = {
      {"code", CodeName(failure.code)}, {"reason", failure.reason}, {"message", failure.message}};
  if (failure.retry_delay.has_value()) {
    json["retry_seconds"] = absl::ToDoubleSeconds(*failure.retry_delay);
  }
  return json;
}

Json ToJson(const std::string& name, const v1::WatchDocumentResponse& event) {
  Json json = {
      {"name", name}, {"state", Word(event.state())}, {"progress", ToJson(event.progress())}};
  if (!event.failure().empty()) {
    json["failure"] = event.failure();
  }
  return json;
}

bool PrintJson(const Json& json) {
  return WriteOutput(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace longleaf::service::cli
