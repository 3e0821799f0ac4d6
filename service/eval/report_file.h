// Where reports go besides the tables on stdout: files named on the command line.
#ifndef LONGLEAF_SERVICE_EVAL_REPORT_FILE_H_
#define LONGLEAF_SERVICE_EVAL_REPORT_FILE_H_

#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace longleaf::service::eval {

// A file that is opened before a long run, so that a wrong path is known at once. Not thread-safe.
class ReportFile {
 public:
  // Empties the file. An empty path: a report that nobody wants, whose text goes nowhere.
  static absl::StatusOr<ReportFile> Create(const std::string& path);
  // Appends, so that it is in the file when this returns. The error names the file.
  absl::Status Write(std::string_view text);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;
  std::unique_ptr<std::FILE, Close> file_;
};

// --json [FILE]: without FILE the report takes the place of the tables on stdout.
struct JsonFlag {
  const CLI::Option* option = nullptr;
  std::string file;
  // Whether tables are not to be printed.
  bool instead_of_tables() const {
    return option != nullptr && option->count() > 0 && file.empty();
  }
};
void AddJsonFlag(CLI::App& command, JsonFlag& flag);

// Writes `report` to `file`, or prints it when the flag asks for that. Bytes that are not UTF-8 are
// replaced.
absl::Status WriteJson(const JsonFlag& flag, ReportFile& file,
                       const nlohmann::ordered_json& report);
// One line, for files of them.
std::string JsonLine(const nlohmann::ordered_json& object);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_REPORT_FILE_H_
