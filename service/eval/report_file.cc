#include "service/eval/report_file.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace longleaf::service::eval {

absl::StatusOr<ReportFile> ReportFile::Create(const std::string& path) {
  ReportFile report;
  if (path.empty()) return report;
  report.path_ = path;
  report.file_.reset(std::fopen(path.c_str(), "wb"));
  if (report.file_ == nullptr) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  }
  return report;
}

absl::Status ReportFile::Write(std::string_view text) {
  if (file_ == nullptr) return absl::OkStatus();
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() ||
      std::fflush(file_.get()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path_));
  }
  return absl::OkStatus();
}

void AddJsonFlag(CLI::App& command, JsonFlag& flag) {
  flag.option = command
                    .add_option("--json", flag.file,
                                "Write a report as JSON; without FILE, print it, and no table")
                    ->expected(0, 1)
                    ->type_name("[FILE]");
}

absl::Status WriteJson(const JsonFlag& flag, ReportFile& file,
                       const nlohmann::ordered_json& report) {
  const std::string text =
      report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  if (!flag.instead_of_tables()) return file.Write(text);
  absl::PrintF("%s", text);
  return absl::OkStatus();
}

std::string JsonLine(const nlohmann::ordered_json& object) {
  return object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace longleaf::service::eval
