#include "service/bench/run.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "service/bench/bench.h"
#include "service/bench/figures.h"
#include "service/bench/modes.h"
#include "service/cli/exit_code.h"

namespace longleaf::service::bench {
namespace {

absl::Status RunMode(Bench& bench, Json* report) {
  switch (bench.options().mode) {
    case Mode::kClosed:
    case Mode::kOpen:
      return RunSweep(bench, report);
    case Mode::kInterference:
      return RunInterference(bench, report);
    case Mode::kBatching:
      return RunBatching(bench, report);
    case Mode::kCold:
      return RunCold(bench, report);
  }
  return absl::InvalidArgumentError("no such mode");
}

int ExitCodeFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return cli::kOk;
    case absl::StatusCode::kUnavailable:
      return cli::kUnreachable;
    default:
      return cli::kRefused;
  }
}

}  // namespace

int RunBench(const Options& options, const Surface& surface) {
  absl::Status status;
  auto bench = Bench::Open(options, &surface);
  if (bench.ok()) {
    Json report = (*bench)->Header();
    report["time"] = absl::FormatTime(absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone());
    report["results"] = Json::array();
    status = RunMode(**bench, &report);
    report["complete"] = status.ok();
    if (!options.json.empty()) {
      const std::string text = report.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
      const absl::Status written = WriteFile(options.json, text);
      status = status.ok() ? written : status;
    }
    bench->reset();  // deletes the documents, which may have something to say
  } else {
    status = bench.status();
  }
  if (!status.ok() && surface.interrupted()) {
    surface.message("longleaf-bench: interrupted\n");
    return cli::kInterrupted;
  }
  if (!status.ok()) {
    surface.message(absl::StrCat("longleaf-bench: ", status.message(), "\n"));
  }
  return ExitCodeFor(status);
}

}  // namespace longleaf::service::bench
