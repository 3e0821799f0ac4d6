#include "service/eval/qa_report.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/eval/clustered_mean.h"
#include "service/eval/report_file.h"
#include "service/eval/table.h"

namespace longleaf::service::eval {
namespace {

using Json = nlohmann::ordered_json;

// The power of two, 1,024 or more, up to which a document counts.
int64_t BucketOf(int64_t tokens) {
  int64_t bucket = 1024;
  while (bucket < tokens) bucket *= 2;
  return bucket;
}

struct Shares {
  Estimate exact;
  Estimate f1;
};

// Of documents in `bucket`; 0: of all.
Shares SharesOf(const QaRun& run, int64_t bucket) {
  std::vector<Observation> exact;
  std::vector<Observation> f1;
  for (const QaResult& result : run.results) {
    if (bucket != 0 && BucketOf(result.document_tokens) != bucket) continue;
    exact.push_back({result.document, result.score.exact});
    f1.push_back({result.document, result.score.f1});
  }
  return {EstimateProportion(exact), EstimateProportion(f1)};
}

// The same questions, one policy minus the other.
Shares DifferenceOf(const QaRun& run, const QaRun& full) {
  std::vector<Observation> exact;
  std::vector<Observation> f1;
  for (size_t i = 0; i < std::min(run.results.size(), full.results.size()); ++i) {
    const QaResult& one = run.results[i];
    const AnswerScore& other = full.results[i].score;
    exact.push_back({one.document, one.score.exact - other.exact});
    f1.push_back({one.document, one.score.f1 - other.f1});
  }
  return {EstimateDifference(exact), EstimateDifference(f1)};
}

const QaRun* FullOf(const QaReport& report) {
  const auto full = std::find_if(report.runs.begin(), report.runs.end(),
                                 [](const QaRun& run) { return run.attention == "full"; });
  return full == report.runs.end() ? nullptr : &*full;
}

std::set<int64_t> BucketsOf(const QaReport& report) {
  std::set<int64_t> buckets;
  for (const QaRun& run : report.runs) {
    for (const QaResult& result : run.results) buckets.insert(BucketOf(result.document_tokens));
  }
  return buckets;
}

std::string Percent(const Estimate& estimate) {
  return absl::StrFormat("%.1f", 100 * estimate.mean);
}

std::string Interval(const Estimate& estimate) {
  return absl::StrFormat("%.1f..%.1f", 100 * estimate.low, 100 * estimate.high);
}

Json ToJson(const Estimate& estimate) {
  return {{"share", estimate.mean}, {"low", estimate.low}, {"high", estimate.high}};
}

Json ToJson(const Shares& shares) {
  return {{"questions", shares.exact.count},
          {"documents", shares.exact.clusters},
          {"exact_match", ToJson(shares.exact)},
          {"f1", ToJson(shares.f1)}};
}

double StateShare(const QaRun& run) {
  return static_cast<double>(run.state_bytes) /
         static_cast<double>(std::max<int64_t>(1, run.full_cache_bytes));
}

}  // namespace

std::string QaTables(const QaReport& report) {
  std::string text;
  for (const std::string& line : report.head) absl::StrAppend(&text, line, "\n");
  Table table({"attention", "tokens", "documents", "questions", "exact %", "95%", "F1 %", "95%",
               "state of full"});
  for (const QaRun& run : report.runs) {
    const auto add = [&](const std::string& name, int64_t bucket) {
      const Shares shares = SharesOf(run, bucket);
      if (shares.exact.count == 0) return;
      table.Add({run.attention, name, absl::StrCat(shares.exact.clusters),
                 absl::StrCat(shares.exact.count), Percent(shares.exact), Interval(shares.exact),
                 Percent(shares.f1), Interval(shares.f1),
                 bucket == 0 ? absl::StrFormat("%.1f%%", 100 * StateShare(run)) : ""});
    };
    add("all", 0);
    const std::set<int64_t> buckets = BucketsOf(report);
    if (buckets.size() == 1) continue;
    for (const int64_t bucket : buckets) add(absl::StrCat("<=", bucket), bucket);
  }
  absl::StrAppend(&text, table.ToString());
  const QaRun* full = FullOf(report);
  if (full == nullptr || report.runs.size() == 1) return text;
  absl::StrAppend(&text, "\npoints above full attention, on the same questions\n");
  Table differences({"attention", "exact", "95%", "F1", "95%"});
  for (const QaRun& run : report.runs) {
    if (&run == full) continue;
    const Shares shares = DifferenceOf(run, *full);
    const auto points = [](double share) { return absl::StrFormat("%+.1f", 100 * share); };
    differences.Add({run.attention, points(shares.exact.mean),
                     absl::StrCat(points(shares.exact.low), "..", points(shares.exact.high)),
                     points(shares.f1.mean),
                     absl::StrCat(points(shares.f1.low), "..", points(shares.f1.high))});
  }
  absl::StrAppend(&text, differences.ToString());
  return text;
}

Json QaJson(const QaReport& report) {
  Json runs = Json::array();
  const QaRun* full = FullOf(report);
  for (const QaRun& run : report.runs) {
    Json entry = {{"attention", run.attention},
                  {"state_bytes", run.state_bytes},
                  {"full_cache_bytes", run.full_cache_bytes},
                  {"state_share", StateShare(run)}};
    entry.update(ToJson(SharesOf(run, 0)));
    Json buckets = Json::array();
    for (const int64_t bucket : BucketsOf(report)) {
      Json one = {{"up_to_tokens", bucket}};
      one.update(ToJson(SharesOf(run, bucket)));
      buckets.push_back(std::move(one));
    }
    entry["lengths"] = std::move(buckets);
    if (full != nullptr && full != &run) entry["minus_full"] = ToJson(DifferenceOf(run, *full));
    runs.push_back(std::move(entry));
  }
  Json all = report.setup;
  all["intervals"] = kIntervalMethod;
  all["runs"] = std::move(runs);
  return all;
}

std::string QaAnswers(const QaRun& run, size_t first) {
  std::string lines;
  for (size_t i = first; i < run.results.size(); ++i) {
    const QaResult& result = run.results[i];
    lines += JsonLine({{"attention", run.attention},
                       {"line", result.asked.line},
                       {"document", result.document},
                       {"document_tokens", result.document_tokens},
                       {"question", result.asked.question},
                       {"expected", result.asked.answers},
                       {"answer", result.answer},
                       {"exact_match", result.score.exact},
                       {"f1", result.score.f1}});
  }
  return lines;
}

}  // namespace longleaf::service::eval
