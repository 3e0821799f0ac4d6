// The closed and the open loop, over numbers of clients or rates of arrival.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/bench/figures.h"
#include "service/bench/modes.h"
#include "service/bench/plot.h"
#include "service/eval/table.h"

namespace longleaf::service::bench {
namespace {

struct Point {
  double x = 0;  // clients, or arrivals a second
  Measured measured;
};

Series Line(const std::string& name, const std::vector<Point>& points,
            double (*value)(const Measured&)) {
  Series series{.name = name, .points = {}};
  for (const Point& point : points) {
    series.points.emplace_back(point.x, value(point.measured));
  }
  return series;
}

std::string Draw(const Bench& bench, const std::string& x_name, const std::vector<Point>& points,
                 const std::string& model) {
  using M = const Measured&;
  const std::vector<Panel> panels = {
      {.title = "Time to first token",
       .unit = "ms",
       .log_y = true,
       .series = {Line("p50", points, [](M m) { return 1e3 * m.load.ttft.Quantile(0.50); }),
                  Line("p95", points, [](M m) { return 1e3 * m.load.ttft.Quantile(0.95); }),
                  Line("p99", points, [](M m) { return 1e3 * m.load.ttft.Quantile(0.99); })}},
      {.title = "Inter-token latency",
       .unit = "ms",
       .log_y = true,
       .series = {Line("p50", points, [](M m) { return 1e3 * m.load.itl.Quantile(0.50); }),
                  Line("p95", points, [](M m) { return 1e3 * m.load.itl.Quantile(0.95); }),
                  Line("p99", points, [](M m) { return 1e3 * m.load.itl.Quantile(0.99); })}},
      {.title = "Throughput",
       .unit = "tokens/s",
       .log_y = false,
       .series = {Line("tokens/s", points, [](M m) { return m.load.tokens_per_second(); })}}};
  const std::string title =
      absl::StrFormat("longleaf-bench %s: %s, questions of %d and answers of at most %d tokens",
                      ModeName(bench.options().mode), model, bench.options().question_tokens,
                      bench.options().answer_tokens);
  return DrawPage(title, x_name, panels);
}

}  // namespace

absl::Status RunSweep(Bench& bench, Json* report) {
  const Options& options = bench.options();
  const bool closed = options.mode == Mode::kClosed;
  auto documents = bench.Documents(options.documents);
  if (!documents.ok()) {
    return documents.status();
  }
  const auto load = bench.Questions(*std::move(documents));
  if (!load.ok()) {
    return load.status();
  }
  const std::vector<double> xs =
      closed ? std::vector<double>(options.clients.begin(), options.clients.end()) : options.rates;
  std::vector<Point> points;
  std::vector<std::string> header = LoadColumns();
  header.insert(header.begin(), closed ? "clients" : "rate");
  eval::Table table(header);
  std::string failures;
  absl::Status status;
  for (const double x : xs) {
    const std::string label =
        closed ? absl::StrCat(x, " client", x == 1 ? "" : "s") : absl::StrCat(x, "/s");
    Point point{.x = x, .measured = {}};
    status = bench.Measure(
        *load, label,
        [&](Load& running) {
          if (closed) {
            running.Closed(static_cast<int64_t>(x));
          } else {
            running.Open(x, options.seed, options.most_outstanding);
          }
        },
        &point.measured);
    if (point.measured.load.asked > 0) {
      std::vector<std::string> cells = LoadCells(point.measured);
      cells.insert(cells.begin(), absl::StrCat(x));
      table.Add(std::move(cells));
      failures += FailureLines(label, point.measured.load);
      Json row = closed ? Json{{"clients", static_cast<int64_t>(x)}} : Json{{"rate", x}};
      row.update(ToJson(point.measured));
      (*report)["results"].push_back(std::move(row));
      points.push_back(std::move(point));
    }
    if (!status.ok()) {
      break;
    }
  }
  if (points.empty()) {
    return status;
  }
  bench.progress().Clear();
  if (!bench.surface().output(table.ToString() + failures)) {
    return absl::PermissionDeniedError("standard output cannot be written");
  }
  if (!options.plot.empty()) {
    const absl::Status written =
        WriteFile(options.plot, Draw(bench, closed ? "clients" : "questions a second", points,
                                     bench.target().model().display_name()));
    status = status.ok() ? written : status;
  }
  return status;
}

}  // namespace longleaf::service::bench
