// The kinds of options that commands have, on top of CLI11: what they accept, how they look in
// help. Bad values are reported the way CLI11 does, by CLI::ValidationError, which the parser
// catches.
#ifndef LONGLEAF_SERVICE_CLI_OPTION_KINDS_H_
#define LONGLEAF_SERVICE_CLI_OPTION_KINDS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace longleaf::service::cli {

// `value` itself; a validation error if it is not UTF-8, which the contract's strings must be.
std::string Utf8(const std::string& value);

// An option whose value appears in help as `placeholder`, and is handed to `set`.
template <typename T>
CLI::Option* Add(CLI::App* app, const std::string& name, const std::string& placeholder,
                 std::function<void(const T&)> set, const std::string& help) {
  return app->add_option_function<T>(name, std::move(set), help)->option_text(placeholder);
}

// UTF-8 text.
void AddText(CLI::App* app, const std::string& name, const std::string& placeholder,
             std::function<void(const std::string&)> set, const std::string& help);

// Like "24h"; see ParseDuration.
void AddDuration(CLI::App* app, const std::string& name, absl::Duration* value,
                 const std::string& help);

// May be given several times, with one UTF-8 value each.
void AddRepeated(CLI::App* app, const std::string& name, const std::string& placeholder,
                 std::function<void(const std::string&)> add, const std::string& help);

// The questions that the arguments of a command line are. Who quotes one of several questions
// quotes all of them: if an argument has a blank, each is a question; words alone are one.
std::vector<std::string> QuestionsOf(const std::vector<std::string>& arguments);

// A check for whole numbers, with an error that says what is wanted.
CLI::Validator AtLeast(int64_t least);

}  // namespace longleaf::service::cli

#endif  // LONGLEAF_SERVICE_CLI_OPTION_KINDS_H_
