#include "model/prompt.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>
#include <utility>

#include "model/stop_matcher.h"
#include "model/utf8.h"

namespace longleaf::model {
namespace {

using Json = nlohmann::json;

absl::Status Bad(const std::string& name, const std::string& what) {
  return absl::InvalidArgumentError(name + ": " + what);
}

absl::Status WrongType(const std::string& key, const char* wanted) {
  return absl::InvalidArgumentError("\"" + key + "\" must be " + wanted);
}

absl::Status ReadStops(const std::string& key, const Json& value, std::vector<std::string>* out) {
  if (!value.is_array()) return WrongType(key, "an array of strings");
  std::vector<std::string> stops;
  for (const Json& item : value) {
    if (!item.is_string()) return WrongType(key, "an array of strings");
    stops.push_back(item.get_ref<const std::string&>());
  }
  if (stops.size() > StopMatcher::kMaxStops / 2) {
    return absl::InvalidArgumentError("\"" + key + "\": more than " +
                                      std::to_string(StopMatcher::kMaxStops / 2) + " stop strings");
  }
  if (auto matcher = StopMatcher::Create(stops); !matcher.ok()) {
    return absl::InvalidArgumentError("\"" + key +
                                      "\": " + std::string(matcher.status().message()));
  }
  *out = std::move(stops);
  return absl::OkStatus();
}

absl::Status ReadString(const std::string& key, const Json& value, std::string* out) {
  if (!value.is_string()) return WrongType(key, "a string");
  *out = value.get_ref<const std::string&>();
  return absl::OkStatus();
}

absl::Status ReadCount(const std::string& key, const Json& value, int64_t* out) {
  const bool in_range = value.is_number_integer() &&
                        (!value.is_number_unsigned() ||
                         value.get<uint64_t>() <= uint64_t{PromptFile::kMaxAnswerTokens}) &&
                        value.get<int64_t>() >= 1 &&
                        value.get<int64_t>() <= PromptFile::kMaxAnswerTokens;
  if (!in_range) return WrongType(key, "a whole number from 1 to 1048576");
  *out = value.get<int64_t>();
  return absl::OkStatus();
}

absl::Status ReadKey(const std::string& key, const Json& value, PromptFile* file) {
  if (key == "version") {
    if (value.is_number_integer() && value == 1) return absl::OkStatus();
    return absl::InvalidArgumentError("\"version\" must be 1");
  }
  if (key == "preamble") return ReadString(key, value, &file->preamble);
  if (key == "question_prefix") return ReadString(key, value, &file->question_prefix);
  if (key == "question_suffix") return ReadString(key, value, &file->question_suffix);
  if (key == "stop") return ReadStops(key, value, &file->stop);
  if (key == "max_answer_tokens") return ReadCount(key, value, &file->max_answer_tokens);
  if (key == "strip_leading_space") {
    if (!value.is_boolean()) return WrongType(key, "true or false");
    file->strip_leading_space = value.get<bool>();
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("unknown key " + Json(key).dump());
}

}  // namespace

absl::StatusOr<PromptFile> PromptFile::Load(const std::string& directory) {
  const std::string path = directory + "/prompt.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) return PromptFile();
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) return Bad(path, std::strerror(errno));
  const std::streamoff size = in.tellg();
  if (size < 0 || size > kMaxFileBytes) {
    return Bad(path, "not a file, or of more than " + std::to_string(kMaxFileBytes) + " bytes");
  }
  std::string text(static_cast<size_t>(size), '\0');
  in.seekg(0);
  if (!in.read(text.data(), size)) return Bad(path, "cannot be read");
  return Parse(text, path);
}

absl::StatusOr<PromptFile> PromptFile::Parse(std::string_view json, const std::string& name) {
  if (json.size() > static_cast<size_t>(kMaxFileBytes)) {
    return Bad(name, "more than " + std::to_string(kMaxFileBytes) + " bytes");
  }
  // Of a repeated key the parser keeps the last value in silence.
  std::set<std::string> seen;
  std::string repeated;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!seen.insert(key).second) repeated = Json(key).dump();
    }
    return true;
  };
  const Json root = Json::parse(json.begin(), json.end(), watch, /*allow_exceptions=*/false);
  if (root.is_discarded() || !root.is_object()) return Bad(name, "not a JSON object");
  if (!repeated.empty()) return Bad(name, "repeated key " + repeated);
  if (!root.contains("version")) return Bad(name, "\"version\" is missing; it must be 1");
  PromptFile file;
  for (const auto& [key, value] : root.items()) {
    if (absl::Status status = ReadKey(key, value, &file); !status.ok()) {
      return Bad(name, std::string(status.message()));
    }
  }
  return file;
}

absl::StatusOr<Prompt> Prompt::Create(PromptFile file, const Tokenizer* tokenizer) {
  Prompt prompt(std::move(file), tokenizer);
  if (tokenizer->bos_id() >= 0) prompt.prefix_ids_.push_back(tokenizer->bos_id());
  absl::StatusOr<std::vector<int32_t>> preamble =
      tokenizer->EncodeIds(prompt.file_.preamble, Start::kFirst);
  if (!preamble.ok()) {
    return absl::InvalidArgumentError("preamble: " + std::string(preamble.status().message()));
  }
  prompt.prefix_ids_.insert(prompt.prefix_ids_.end(), preamble->begin(), preamble->end());
  return prompt;
}

Start Prompt::document_start() const {
  return file_.preamble.empty() ? Start::kFirst : Start::kContinuation;
}

absl::StatusOr<std::vector<int32_t>> Prompt::QuestionIds(std::string_view question) const {
  std::string text = file_.question_prefix;
  text += question;
  text += file_.question_suffix;
  // Checked alone, so that the error's offset is one in the question.
  if (absl::Status status = CheckUtf8(question); !status.ok()) return status;
  return tokenizer_->EncodeIds(text, Start::kContinuation);
}

std::string Prompt::digest() const {
  std::string digest = file_.preamble.empty() ? "document first:" : "document continues:";
  for (const int32_t id : prefix_ids_) digest += " " + std::to_string(id);
  return digest;
}

}  // namespace longleaf::model
