// Typed, range-checked access to the keys of one JSON object of a configuration file, with errors
// that name file and key. It remembers which keys were asked for, so that the rest can be reported.
#ifndef LONGLEAF_MODEL_CONFIG_READER_H_
#define LONGLEAF_MODEL_CONFIG_READER_H_

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace longleaf::model {

// Not thread-safe. `object` must outlive it. Every reader below leaves *out alone when the key is
// missing or null, and gives INVALID_ARGUMENT when it has another type or range.
class ConfigReader {
 public:
  // `name` stands for the file, `prefix` goes before keys in errors ("rope_scaling.").
  ConfigReader(const nlohmann::json& object, std::string name, std::string prefix)
      : object_(object), name_(std::move(name)), prefix_(std::move(prefix)) {}

  const std::string& name() const { return name_; }

  // The value; null pointer when the key is missing or null.
  const nlohmann::json* Find(const char* key);
  absl::Status Required(const char* key);
  absl::Status Integer(const char* key, int64_t least, int64_t most, int64_t* out);
  absl::Status Number(const char* key, double least, double most, double* out);
  absl::Status Boolean(const char* key, bool* out);
  // A token id or a list of them, added to `ids`, which is then ascending without duplicates.
  absl::Status TokenIds(const char* key, int64_t vocab, std::vector<int32_t>& ids);

  // "FILE: KEY what"
  absl::Status Error(std::string_view key, std::string_view what) const;
  // A value as JSON, cut to a length fit for a message.
  static std::string Text(const nlohmann::json& value);

  // Keys of the object that were not asked for and that are not known to be without influence on
  // the result.
  std::vector<std::string> KeysNotAskedFor() const;

 private:
  const nlohmann::json& object_;
  const std::string name_;
  const std::string prefix_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_CONFIG_READER_H_
