// Parsing, printing and checking of attention policies.
#include "kernels/attention_policy.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace longleaf::kernels {
namespace {

// Keeps every product of a position and a policy number far inside int64.
constexpr int64_t kLargestNumber = int64_t{1} << 30;

using Settings = std::map<std::string, std::string>;

absl::Status Malformed(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("attention policy \"", text, "\": ", why,
                                                 "; known are full, cca:g=16,w=1024,heads=query|kv "
                                                 "and streaming:sinks=4,w=1024"));
}

// "a=1,b=2" into a map. Empty settings, empty values and duplicates are errors.
absl::StatusOr<Settings> ParseSettings(absl::string_view text, absl::string_view list) {
  Settings settings;
  for (absl::string_view setting : absl::StrSplit(list, ',')) {
    const std::pair<std::string, std::string> pair =
        absl::StrSplit(setting, absl::MaxSplits('=', 1));
    if (pair.first.empty() || pair.second.empty()) {
      return Malformed(text, absl::StrCat("\"", setting, "\" is not key=value"));
    }
    if (!settings.insert(pair).second) {
      return Malformed(text, absl::StrCat("\"", pair.first, "\" is given twice"));
    }
  }
  return settings;
}

// Moves an integer setting to `value` and removes it from the map.
absl::Status TakeNumber(absl::string_view text, const char* key, Settings& settings,
                        int64_t& value) {
  const auto found = settings.find(key);
  if (found == settings.end()) return Malformed(text, absl::StrCat("\"", key, "\" is missing"));
  if (!absl::SimpleAtoi(found->second, &value)) {
    return Malformed(text, absl::StrCat("\"", found->second, "\" is not a number"));
  }
  settings.erase(found);
  return absl::OkStatus();
}

absl::Status TakeHeads(absl::string_view text, Settings& settings, CoreHeads& heads) {
  const auto found = settings.find("heads");
  if (found == settings.end()) return absl::OkStatus();
  if (found->second == "query") {
    heads = CoreHeads::kQuery;
  } else if (found->second == "kv") {
    heads = CoreHeads::kKeyValue;
  } else {
    return Malformed(text, absl::StrCat("heads is query or kv, not \"", found->second, "\""));
  }
  settings.erase(found);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AttentionPolicy> AttentionPolicy::Parse(absl::string_view text) {
  if (text == "full") return Full();
  const std::pair<absl::string_view, absl::string_view> halves =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  AttentionPolicy policy;
  if (halves.first == "cca") {
    policy.kind = Kind::kCca;
  } else if (halves.first == "streaming") {
    policy.kind = Kind::kStreaming;
    policy.core_heads = CoreHeads::kKeyValue;
  } else {
    return Malformed(text, "unknown kind");
  }
  absl::StatusOr<Settings> settings = ParseSettings(text, halves.second);
  if (!settings.ok()) return settings.status();
  absl::Status status = TakeNumber(text, "w", *settings, policy.window);
  if (status.ok() && policy.kind == Kind::kCca) {
    status = TakeNumber(text, "g", *settings, policy.group);
    if (status.ok()) status = TakeHeads(text, *settings, policy.core_heads);
  } else if (status.ok()) {
    status = TakeNumber(text, "sinks", *settings, policy.sinks);
  }
  if (!status.ok()) return status;
  if (!settings->empty()) {
    return Malformed(text, absl::StrCat("unknown key \"", settings->begin()->first, "\""));
  }
  status = policy.Validate();
  if (!status.ok()) return Malformed(text, status.message());
  return policy;
}

std::string AttentionPolicy::ToString() const {
  switch (kind) {
    case Kind::kFull:
      return "full";
    case Kind::kCca:
      return absl::StrCat("cca:g=", group, ",w=", window,
                          ",heads=", core_heads == CoreHeads::kQuery ? "query" : "kv");
    case Kind::kStreaming:
      return absl::StrCat("streaming:sinks=", sinks, ",w=", window);
  }
  return "unknown";
}

absl::Status AttentionPolicy::Validate() const {
  if (group > kLargestNumber || window > kLargestNumber || sinks > kLargestNumber) {
    return absl::InvalidArgumentError("a number is too large");
  }
  switch (kind) {
    case Kind::kFull:
      return absl::OkStatus();
    case Kind::kCca:
      if (group < 1) return absl::InvalidArgumentError("g must be at least 1");
      if (window < group) return absl::InvalidArgumentError("w must be at least g");
      if (window % group != 0) return absl::InvalidArgumentError("w must be a multiple of g");
      return absl::OkStatus();
    case Kind::kStreaming:
      if (window < 1) return absl::InvalidArgumentError("w must be at least 1");
      if (sinks < 0) return absl::InvalidArgumentError("sinks must not be negative");
      return absl::OkStatus();
  }
  return absl::InvalidArgumentError("unknown kind");
}

}  // namespace longleaf::kernels
