// The first token on a document whose state has to come from disk, beside what reading it took.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/bench/figures.h"
#include "service/bench/modes.h"
#include "service/eval/table.h"

namespace longleaf::service::bench {
namespace {

constexpr double kEndless = 1e9;
constexpr int64_t kWarmQuestions = 4;

// Where the states of these questions came from: "disk", or "disk memory".
std::string Tiers(const Measurement& m) {
  std::string names;
  for (const auto& [name, count] : m.tiers) {
    absl::StrAppend(&names, names.empty() ? "" : " ", name);
  }
  return names;
}

absl::StatusOr<UploadedDocument> Prepare(Bench& bench) {
  const Options& options = bench.options();
  if (!options.existing.empty()) {
    auto document = bench.Find(options.existing.front());
    if (document.ok()) {
      document->seconds = options.prefill_seconds;
    }
    return document;
  }
  auto document = bench.Upload(options.document_tokens, [&bench](int64_t done, int64_t total) {
    bench.progress().Draw(absl::StrFormat("%d of %d tokens read", done, total));
  });
  if (!document.ok()) {
    return document;
  }
  bench.progress().Say(absl::StrFormat("%s: %d tokens read in %s s", document->name,
                                       document->tokens, Figure(document->seconds)));
  for (int64_t i = 0; i < options.evict_with; ++i) {
    bench.progress().Draw(
        absl::StrFormat("document %d of %d to take its place", i + 1, options.evict_with));
    if (auto other = bench.Upload(options.document_tokens, nullptr); !other.ok()) {
      return other.status();
    }
  }
  return document;
}

}  // namespace

absl::Status RunCold(Bench& bench, Json* report) {
  const auto document = Prepare(bench);
  if (!document.ok()) {
    return document.status();
  }
  const auto questions = bench.Questions({document->name});
  if (!questions.ok()) {
    return questions.status();
  }
  Measurement first;
  Measurement warm;
  const std::unique_ptr<Load> load = bench.MakeLoad(*questions, "questions");
  load->Closed(1);
  absl::Status status = load->Run(kEndless, 1, &first);
  if (status.ok() && first.answered > 0) {
    status = load->Run(kEndless, kWarmQuestions, &warm);
  }
  bench.progress().Clear();

  const double ttft = first.ttft.greatest();
  const double share = document->seconds > 0 ? ttft / document->seconds : 0;
  eval::Table table({"document", "tokens", "prefill s", "state from", "first TTFT ms", "of prefill",
                     "next TTFT p50 ms", "state from"});
  table.Add({document->name, absl::StrCat(document->tokens),
             document->seconds > 0 ? Figure(document->seconds) : "-", Tiers(first),
             Milliseconds(ttft), share > 0 ? absl::StrFormat("%.2f%%", 100 * share) : "-",
             Milliseconds(warm.ttft.Quantile(0.5)), Tiers(warm)});
  std::string notes = FailureLines("first question", first);
  if (first.tiers.contains("memory")) {
    notes +=
        "The state was still in memory: this is not a cold document (--evict-with, or restart "
        "the server and use --existing).\n";
  }
  (*report)["results"].push_back({{"document", document->name},
                                  {"document_tokens", document->tokens},
                                  {"prefill_seconds", document->seconds},
                                  {"first_ttft_seconds", ttft},
                                  {"first_ttft_share_of_prefill", share},
                                  {"first", ToJson(first)},
                                  {"warm", ToJson(warm)}});
  if (!bench.surface().output(table.ToString() + notes)) {
    return absl::PermissionDeniedError("standard output cannot be written");
  }
  return status;
}

}  // namespace longleaf::service::bench
