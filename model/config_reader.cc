#include "model/config_reader.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace longleaf::model {

using absl::Status;

const nlohmann::json* ConfigReader::Find(const char* key) {
  asked_.insert(key);
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

Status ConfigReader::Error(std::string_view key, std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(name_, ": ", prefix_,
                                                 absl::string_view(key.data(), key.size()), " ",
                                                 absl::string_view(what.data(), what.size())));
}

std::string ConfigReader::Text(const nlohmann::json& value) {
  constexpr size_t kMost = 80;
  std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMost) {
    text = text.substr(0, kMost) + "...";
  }
  return text;
}

Status ConfigReader::Required(const char* key) {
  return Find(key) == nullptr ? Error(key, "is missing") : absl::OkStatus();
}

Status ConfigReader::Integer(const char* key, int64_t least, int64_t most, int64_t* out) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  // An unsigned above INT64_MAX would turn negative in get<int64_t>.
  const bool fits = value->is_number_unsigned()
                        ? most >= 0 && value->get<uint64_t>() <= static_cast<uint64_t>(most) &&
                              (least <= 0 || value->get<uint64_t>() >= static_cast<uint64_t>(least))
                        : value->is_number_integer() && value->get<int64_t>() >= least &&
                              value->get<int64_t>() <= most;
  if (!fits) {
    return Error(key, absl::StrCat("is ", Text(*value), "; it must be an integer from ", least,
                                   " to ", most));
  }
  *out = value->get<int64_t>();
  return absl::OkStatus();
}

Status ConfigReader::Number(const char* key, double least, double most, double* out) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= least && number <= most)) {
    return Error(
        key, absl::StrCat("is ", Text(*value), "; it must be a number from ", least, " to ", most));
  }
  *out = number;
  return absl::OkStatus();
}

Status ConfigReader::Boolean(const char* key, bool* out) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) {
    return Error(key, absl::StrCat("is ", Text(*value), "; it must be true or false"));
  }
  *out = value->get<bool>();
  return absl::OkStatus();
}

Status ConfigReader::TokenIds(const char* key, int64_t vocab, std::vector<int32_t>& ids) {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  const auto valid = [vocab](const nlohmann::json& id) {
    return id.is_number_unsigned() && id.get<uint64_t>() < static_cast<uint64_t>(vocab);
  };
  if (valid(*value)) {
    ids.push_back(value->get<int32_t>());
  } else if (value->is_array() && std::all_of(value->begin(), value->end(), valid)) {
    for (const nlohmann::json& id : *value) {
      ids.push_back(id.get<int32_t>());
    }
  } else {
    return Error(
        key, absl::StrCat("is ", Text(*value),
                          "; it must be a token id or a list of them, each from 0 to ", vocab - 1));
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return absl::OkStatus();
}

std::vector<std::string> ConfigReader::KeysNotAskedFor() const {
  // Written by transformers into every file, and without influence on a forward pass.
  static constexpr std::string_view kHarmless[] = {"_name_or_path",
                                                   "attention_dropout",
                                                   "auto_map",
                                                   "attn_implementation",
                                                   "_attn_implementation",
                                                   "dtype",
                                                   "hidden_dropout",
                                                   "id2label",
                                                   "is_decoder",
                                                   "initializer_range",
                                                   "label2id",
                                                   "max_window_layers",
                                                   "output_attentions",
                                                   "output_hidden_states",
                                                   "pad_token_id",
                                                   "pretraining_tp",
                                                   "resid_pdrop",
                                                   "return_dict",
                                                   "torch_dtype",
                                                   "transformers_version",
                                                   "unk_token_id",
                                                   "use_cache"};
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_.items()) {
    if (!asked_.contains(key) &&
        std::find(std::begin(kHarmless), std::end(kHarmless), key) == std::end(kHarmless)) {
      keys.push_back(key);
    }
  }
  return keys;
}

}  // namespace longleaf::model
