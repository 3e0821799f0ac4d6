// What it is worth to answer many at once: one question, N on one document, N on N documents.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/bench/figures.h"
#include "service/bench/modes.h"
#include "service/eval/table.h"

namespace longleaf::service::bench {
namespace {

struct Case {
  const char* key;
  std::string label;
  int64_t clients;
  size_t documents;
};

}  // namespace

absl::Status RunBatching(Bench& bench, Json* report) {
  const Options& options = bench.options();
  const int64_t batch = options.batch;
  const auto documents = bench.Documents(batch);
  if (!documents.ok()) {
    return documents.status();
  }
  const std::vector<Case> cases = {
      {"one", "1 question", 1, 1},
      {"one_document", absl::StrCat(batch, " on 1 document"), batch, 1},
      {"many_documents", absl::StrFormat("%d on %d documents", batch, batch), batch,
       static_cast<size_t>(batch)}};
  std::vector<std::string> header = LoadColumns();
  header.insert(header.begin(), "load");
  header.push_back("times one");
  eval::Table table(header);
  Json result = {{"batch", batch}};
  std::string notes;
  double one = 0;
  absl::Status status;
  for (const Case& c : cases) {
    const auto load =
        bench.Questions({documents->begin(), documents->begin() + static_cast<long>(c.documents)});
    if (!load.ok()) {
      status = load.status();
      break;
    }
    Measured measured;
    status = bench.Measure(
        *load, c.label, [&c](Load& running) { running.Closed(c.clients); }, &measured);
    if (measured.load.asked == 0) {
      break;
    }
    const double rate = measured.load.tokens_per_second();
    std::vector<std::string> cells = LoadCells(measured);
    cells.insert(cells.begin(), c.label);
    if (c.clients == 1) {
      one = rate;
    }
    const double ratio = one > 0 ? rate / one : 0;
    cells.push_back(Figure(ratio));
    table.Add(std::move(cells));
    notes += FailureLines(c.label, measured.load);
    result[c.key] = ToJson(measured);
    result[absl::StrCat(c.key, "_ratio")] = ratio;
    if (c.clients > 1 && c.documents == 1 && options.engine_rate > 0) {
      const double overhead = 1 - rate / options.engine_rate;
      result["engine_tokens_per_second"] = options.engine_rate;
      result["overhead"] = overhead;
      absl::StrAppendFormat(&notes,
                            "engine alone, as given: %s tokens/s; gRPC and scheduling: %.1f%%\n",
                            Figure(options.engine_rate), 100 * overhead);
    }
    if (!status.ok()) {
      break;
    }
  }
  bench.progress().Clear();
  (*report)["results"].push_back(std::move(result));
  if (!bench.surface().output(table.ToString() + notes)) {
    return absl::PermissionDeniedError("standard output cannot be written");
  }
  return status;
}

}  // namespace longleaf::service::bench
