// JSON from files that nobody has vetted: one place for the limits, so that config.json and the
// headers of weight files are read with equal care.
#ifndef LONGLEAF_MODEL_JSON_TEXT_H_
#define LONGLEAF_MODEL_JSON_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace longleaf::model {

// The object that `text` is. INVALID_ARGUMENT, with `name` in front, when it is no JSON, no object,
// nested deeper than 32, or has the same key twice in one object (which of the two should hold?).
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, const std::string& name);

// The whole file. NOT_FOUND when there is none, INVALID_ARGUMENT above `max_bytes`; both name it.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, int64_t max_bytes);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_JSON_TEXT_H_
