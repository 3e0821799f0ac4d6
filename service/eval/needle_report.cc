#include "service/eval/needle_report.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/eval/heat_map.h"
#include "service/eval/report_file.h"
#include "service/eval/table.h"

namespace longleaf::service::eval {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFull[] = "full";

std::string DepthName(int64_t depth, int64_t depths) {
  return absl::StrFormat("%d-%d%%", 100 * depth / depths, 100 * (depth + 1) / depths);
}

std::string Percent(double share) { return absl::StrFormat("%.1f", 100 * share); }

std::string Interval(const Estimate& estimate) {
  return absl::StrFormat("%.1f..%.1f", 100 * estimate.low, 100 * estimate.high);
}

// 4096 -> "4K", 1500 -> "1500".
std::string LengthName(int64_t tokens) {
  return tokens % 1024 == 0 ? absl::StrCat(tokens / 1024, "K") : absl::StrCat(tokens);
}

Json ToJson(const Estimate& estimate) {
  return {{"share", estimate.mean},
          {"low", estimate.low},
          {"high", estimate.high},
          {"asked", estimate.count},
          {"documents", estimate.clusters}};
}

Json KindsJson(const std::vector<const NeedleCell*>& cells) {
  Json kinds = Json::object();
  for (const auto& [values, estimate] : ShareByKind(cells)) kinds[values] = ToJson(estimate);
  return kinds;
}

// The policies, in the order of the cells, each with its cells.
std::vector<std::pair<std::string, std::vector<const NeedleCell*>>> ByPolicy(
    const std::vector<NeedleCell>& cells) {
  std::vector<std::pair<std::string, std::vector<const NeedleCell*>>> policies;
  for (const NeedleCell& cell : cells) {
    auto found = std::find_if(policies.begin(), policies.end(), [&cell](const auto& policy) {
      return policy.first == cell.attention;
    });
    if (found == policies.end()) found = policies.insert(found, {cell.attention, {}});
    found->second.push_back(&cell);
  }
  return policies;
}

Table CellTable(const NeedleReport& report) {
  std::vector<std::string> header = {"tokens",    "attention", "state MB", "of full",
                                     "documents", "asked",     "right %",  "95%"};
  for (int64_t i = 0; i < report.depths; ++i) header.push_back(DepthName(i, report.depths));
  header.push_back("not stated");
  Table table(header);
  for (const NeedleCell& cell : report.cells) {
    const Estimate stated = StatedShare(cell);
    std::vector<std::string> row = {
        absl::StrCat(cell.length),
        cell.attention,
        absl::StrFormat("%.2f", static_cast<double>(cell.state_bytes) / 1e6),
        Percent(cell.state_share()) + "%",
        absl::StrCat(cell.documents),
        absl::StrCat(stated.count),
        Percent(stated.mean),
        Interval(stated)};
    for (int64_t i = 0; i < report.depths; ++i) {
      const Estimate depth = DepthShare(cell, i, report.depths);
      row.push_back(depth.count == 0 ? "-" : Percent(depth.mean));
    }
    const Estimate unstated = UnstatedShare(cell);
    row.push_back(unstated.count == 0
                      ? "-"
                      : absl::StrFormat("%s (%d)", Percent(unstated.mean), unstated.count));
    table.Add(std::move(row));
  }
  return table;
}

Table KindTable(const NeedleReport& report) {
  const auto policies = ByPolicy(report.cells);
  std::vector<std::string> header = {"answers from"};
  std::vector<std::map<std::string, Estimate>> shares;
  std::set<std::string> kinds;
  for (const auto& [attention, cells] : policies) {
    header.push_back(attention);
    shares.push_back(ShareByKind(cells));
    for (const auto& [values, estimate] : shares.back()) kinds.insert(values);
  }
  Table table(header);
  for (const std::string& values : kinds) {
    std::vector<std::string> row = {values};
    for (auto& share : shares) {
      const Estimate& estimate = share[values];
      row.push_back(absl::StrFormat("%s (%d)", Percent(estimate.mean), estimate.count));
    }
    table.Add(std::move(row));
  }
  return table;
}

}  // namespace

double NeedleResult::right() const {
  return static_cast<double>(std::count(found.begin(), found.end(), true)) /
         static_cast<double>(std::max<size_t>(1, found.size()));
}

double NeedleCell::state_share() const {
  return static_cast<double>(state_bytes) /
         static_cast<double>(std::max<int64_t>(1, full_cache_bytes));
}

Estimate StatedShare(const NeedleCell& cell) {
  std::vector<Observation> observations;
  for (const NeedleResult& result : cell.results) {
    if (result.stated()) observations.push_back({result.document, result.right()});
  }
  return EstimateProportion(observations);
}

Estimate UnstatedShare(const NeedleCell& cell) {
  std::vector<Observation> observations;
  for (const NeedleResult& result : cell.results) {
    if (!result.stated()) observations.push_back({result.document, result.right()});
  }
  return EstimateProportion(observations);
}

Estimate DepthShare(const NeedleCell& cell, int64_t depth, int64_t depths) {
  std::vector<Observation> observations;
  for (const NeedleResult& result : cell.results) {
    for (size_t i = 0; i < result.depths.size(); ++i) {
      const auto at = static_cast<int64_t>(result.depths[i] * static_cast<double>(depths));
      if (std::min(at, depths - 1) != depth) continue;
      observations.push_back({result.document, result.found[i] ? 1.0 : 0.0});
    }
  }
  return EstimateProportion(observations);
}

std::map<std::string, Estimate> ShareByKind(const std::vector<const NeedleCell*>& cells) {
  std::map<std::string, std::vector<Observation>> observations;
  for (const NeedleCell* cell : cells) {
    for (const NeedleResult& result : cell->results) {
      if (!result.stated()) continue;
      observations[result.fact.values].push_back({result.document, result.right()});
    }
  }
  std::map<std::string, Estimate> shares;
  for (const auto& [values, some] : observations) shares[values] = EstimateProportion(some);
  return shares;
}

std::vector<NeedleDifference> DifferencesToFull(const std::vector<NeedleCell>& cells) {
  std::vector<NeedleDifference> differences;
  for (const NeedleCell& full : cells) {
    if (full.attention != kFull) continue;
    std::map<std::pair<int64_t, int64_t>, double> right;
    for (const NeedleResult& result : full.results) {
      if (result.stated()) right[{result.document, result.question}] = result.right();
    }
    for (const NeedleCell& cell : cells) {
      if (cell.length != full.length || cell.attention == kFull) continue;
      std::vector<Observation> observations;
      for (const NeedleResult& result : cell.results) {
        const auto same = right.find({result.document, result.question});
        if (same == right.end()) continue;
        observations.push_back({result.document, result.right() - same->second});
      }
      differences.push_back({&cell, EstimateDifference(observations)});
    }
  }
  return differences;
}

std::string NeedleTables(const NeedleReport& report, bool by_kind) {
  std::string text;
  for (const std::string& line : report.head) absl::StrAppend(&text, line, "\n");
  absl::StrAppend(&text, CellTable(report).ToString());
  const std::vector<NeedleDifference> differences = DifferencesToFull(report.cells);
  if (!differences.empty()) {
    absl::StrAppend(&text, "\npoints above full attention, on the same questions\n");
    Table table({"tokens", "attention", "points", "95%", "asked", "documents"});
    for (const NeedleDifference& difference : differences) {
      const Estimate& points = difference.points;
      table.Add({absl::StrCat(difference.cell->length), difference.cell->attention,
                 absl::StrFormat("%+.1f", 100 * points.mean),
                 absl::StrFormat("%+.1f..%+.1f", 100 * points.low, 100 * points.high),
                 absl::StrCat(points.count), absl::StrCat(points.clusters)});
    }
    absl::StrAppend(&text, table.ToString());
  }
  if (by_kind) {
    absl::StrAppend(&text, "\nright % (asked) by the list of the answer, all lengths together\n",
                    KindTable(report).ToString());
  }
  return text;
}

Json NeedleJson(const NeedleReport& report) {
  Json cells = Json::array();
  for (const NeedleCell& cell : report.cells) {
    Json depths = Json::array();
    for (int64_t i = 0; i < report.depths; ++i) {
      Json depth = {{"from", static_cast<double>(i) / static_cast<double>(report.depths)},
                    {"to", static_cast<double>(i + 1) / static_cast<double>(report.depths)}};
      depth.update(ToJson(DepthShare(cell, i, report.depths)));
      depths.push_back(std::move(depth));
    }
    Json entry = {{"length", cell.length},
                  {"attention", cell.attention},
                  {"documents", cell.documents},
                  {"state_bytes", cell.state_bytes},
                  {"full_cache_bytes", cell.full_cache_bytes},
                  {"state_share", cell.state_share()},
                  {"stated", ToJson(StatedShare(cell))},
                  {"unstated", ToJson(UnstatedShare(cell))},
                  {"depths", std::move(depths)},
                  {"by_kind", KindsJson({&cell})}};
    cells.push_back(std::move(entry));
  }
  Json differences = Json::array();
  for (const NeedleDifference& difference : DifferencesToFull(report.cells)) {
    const Estimate& points = difference.points;
    differences.push_back({{"length", difference.cell->length},
                           {"attention", difference.cell->attention},
                           {"minus", kFull},
                           {"share", points.mean},
                           {"low", points.low},
                           {"high", points.high},
                           {"asked", points.count},
                           {"documents", points.clusters}});
  }
  Json all = report.setup;
  all["intervals"] = kIntervalMethod;
  all["cells"] = std::move(cells);
  all["differences"] = std::move(differences);
  return all;
}

std::string NeedlePicture(const NeedleReport& report) {
  HeatMapPage page;
  page.title = "Facts found, by length of the document and depth in it";
  page.subtitle = report.head.empty() ? "" : report.head.front();
  page.column_axis = "tokens";
  page.row_axis = "depth of the fact in the document, its beginning above";
  for (int64_t i = 0; i < report.depths; ++i) page.rows.push_back(DepthName(i, report.depths));
  for (const auto& [attention, cells] : ByPolicy(report.cells)) {
    HeatMapPanel panel;
    panel.title = attention;
    panel.cells.resize(page.rows.size());
    for (const NeedleCell* cell : cells) {
      panel.columns.push_back(LengthName(cell->length));
      const Estimate stated = StatedShare(*cell);
      panel.footers.push_back(
          {absl::StrFormat("all: %s%%", Percent(stated.mean)),
           absl::StrFormat("%s–%s", Percent(stated.low), Percent(stated.high)),
           absl::StrFormat("%.1f MB, %.0f%%", static_cast<double>(cell->state_bytes) / 1e6,
                           100 * cell->state_share())});
      for (int64_t i = 0; i < report.depths; ++i) {
        panel.cells[static_cast<size_t>(i)].push_back(DepthShare(*cell, i, report.depths));
      }
    }
    page.panels.push_back(std::move(panel));
  }
  page.notes.assign(report.head.begin() + (report.head.empty() ? 0 : 1), report.head.end());
  page.notes.push_back(
      "MB: the state of a document; %: its share of a cache of all keys and "
      "values.");
  page.notes.push_back(absl::StrCat("Intervals: ", kIntervalMethod, "."));
  return DrawHeatMaps(page);
}

std::string NeedleAnswers(const NeedleCell& cell, absl::Span<const NeedleResult> results) {
  std::string lines;
  for (const NeedleResult& result : results) {
    lines += JsonLine({{"length", cell.length},
                       {"attention", cell.attention},
                       {"document", result.document},
                       {"question_number", result.question},
                       {"task", TaskName(result.fact.task)},
                       {"relation", result.fact.relation},
                       {"values", result.fact.values},
                       {"statements", result.fact.statements},
                       {"question", result.fact.question},
                       {"expected", result.fact.answers},
                       {"answer", result.answer},
                       {"right", result.right()},
                       {"depths", result.depths}});
  }
  return lines;
}

}  // namespace longleaf::service::eval
