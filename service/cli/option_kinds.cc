#include "service/cli/option_kinds.h"

#include <algorithm>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "service/cli/quantity.h"
#include "service/cli/terminal_text.h"

namespace longleaf::service::cli {

std::string Utf8(const std::string& value) {
  if (!IsValidUtf8(value)) {
    throw CLI::ValidationError("'" + EscapeLine(value) + "' is not UTF-8");
  }
  return value;
}

void AddText(CLI::App* app, const std::string& name, const std::string& placeholder,
             std::function<void(const std::string&)> set, const std::string& help) {
  Add<std::string>(
      app, name, placeholder,
      [set = std::move(set)](const std::string& value) { set(Utf8(value)); }, help);
}

void AddDuration(CLI::App* app, const std::string& name, absl::Duration* value,
                 const std::string& help) {
  Add<std::string>(
      app, name, "TIME",
      [value, name](const std::string& text) {
        const absl::StatusOr<absl::Duration> parsed = ParseDuration(text);
        if (!parsed.ok()) {
          throw CLI::ValidationError(name, std::string(parsed.status().message()));
        }
        *value = *parsed;
      },
      help);
}

void AddRepeated(CLI::App* app, const std::string& name, const std::string& placeholder,
                 std::function<void(const std::string&)> add, const std::string& help) {
  Add<std::vector<std::string>>(
      app, name, placeholder,
      [add = std::move(add)](const std::vector<std::string>& values) {
        for (const std::string& value : values) {
          add(Utf8(value));
        }
      },
      help)
      ->allow_extra_args(false);  // else it would take the arguments that follow
}

std::vector<std::string> QuestionsOf(const std::vector<std::string>& arguments) {
  const bool quoted =
      std::any_of(arguments.begin(), arguments.end(), [](const std::string& argument) {
        return argument.find_first_of(" \t\n") != std::string::npos;
      });
  std::vector<std::string> questions;
  for (const std::string& argument : arguments) {
    if (quoted || questions.empty()) {
      questions.push_back(Utf8(argument));
    } else {
      absl::StrAppend(&questions.front(), " ", Utf8(argument));
    }
  }
  return questions;
}

CLI::Validator AtLeast(int64_t least) {
  return CLI::Validator(
      [least](std::string& text) {
        int64_t value = 0;
        return absl::SimpleAtoi(text, &value) && value >= least
                   ? std::string()
                   : absl::StrCat("'", text, "' is not a whole number of at least ", least);
      },
      "");
}

}  // namespace longleaf::service::cli
