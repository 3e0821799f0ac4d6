#include "service/bench/bench.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/bench/workload.h"
#include "service/cli/json_output.h"
#include "service/version.h"

namespace longleaf::service::bench {
namespace {

constexpr int64_t kProbeBytes = 2000;
constexpr double kEndless = 1e9;
constexpr char kWeightPasses[] = "longleaf_weight_passes_total";
constexpr char kGenerated[] = "longleaf_generated_tokens_total";

std::string LoadLine(const std::string& label, double seconds, const Measurement& m) {
  std::string line =
      absl::StrFormat("%s: %.0f s, %d answers, %.1f tokens/s", label, seconds, m.answered,
                      seconds > 0 ? static_cast<double>(m.tokens) / seconds : 0);
  if (m.failed() > 0) {
    absl::StrAppend(&line, ", ", m.failed(), " failed");
  }
  return line;
}

}  // namespace

double Measured::tokens_per_weight_pass() const {
  const auto passes = server.find(kWeightPasses);
  const auto generated = server.find(kGenerated);
  return passes == server.end() || generated == server.end() || passes->second <= 0
             ? 0
             : generated->second / passes->second;
}

Json ToJson(const Measured& measured) {
  Json json = ToJson(measured.load);
  if (!measured.server.empty()) {
    Json counters = Json::object();
    for (const auto& [name, gained] : measured.server) {
      counters[name] = gained;
    }
    json["server_counters"] = counters;
    json["tokens_per_weight_pass"] = measured.tokens_per_weight_pass();
  }
  return json;
}

absl::StatusOr<std::unique_ptr<Bench>> Bench::Open(const Options& options, const Surface* surface) {
  auto bench = std::unique_ptr<Bench>(new Bench(options, surface));
  std::random_device random;
  bench->run_seed_ = (uint64_t{random()} << 32) | random();
  bench->run_ = absl::StrFormat("bench-%08x", bench->run_seed_ & 0xffffffff);
  auto target = Target::Open({.address = options.address,
                              .connections = options.connections,
                              .interrupted = surface->interrupted});
  if (!target.ok()) {
    return target.status();
  }
  bench->target_ = *std::move(target);
  if (auto counters = bench->ScrapeIfWanted(); !counters.ok()) {
    return counters.status();  // better now than after the first measurement
  }
  return bench;
}

Bench::~Bench() {
  for (const std::string& name : uploaded_) {
    if (options_.keep) {
      progress_.Say(absl::StrCat("kept ", name));
    } else if (absl::Status status = target_->Delete(name); !status.ok()) {
      progress_.Say(absl::StrCat("not deleted: ", name, ": ", status.message()));
    }
  }
}

absl::Status Bench::Calibrate() {
  if (bytes_per_token_ > 0) {
    return absl::OkStatus();
  }
  const std::string text = DocumentText(kProbeBytes, run_seed_);
  auto probe = target_->Upload(absl::StrCat(run_, "-probe"), text, nullptr);
  if (!probe.ok()) {
    return probe.status();
  }
  bytes_per_token_ =
      static_cast<double>(probe->bytes) / static_cast<double>(std::max<int64_t>(1, probe->tokens));
  return target_->Delete(probe->name);
}

absl::StatusOr<Bench::Draft> Bench::DraftDocument(int64_t tokens) {
  const int64_t all = tokens + options_.question_tokens + options_.answer_tokens;
  if (all > target_->model().context_length()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a document of ", tokens, " tokens, a question and an answer take more than ",
                     "the model's context of ", target_->model().context_length(), " tokens"));
  }
  if (absl::Status status = Calibrate(); !status.ok()) {
    return status;
  }
  const auto bytes = static_cast<int64_t>(bytes_per_token_ * static_cast<double>(tokens));
  ++drafts_;
  // The run's seed keeps texts apart from an earlier run's, whose states the server may have.
  return Draft{absl::StrCat(run_, "-", drafts_),
               DocumentText(bytes, run_seed_ + static_cast<uint64_t>(drafts_))};
}

absl::StatusOr<UploadedDocument> Bench::Upload(int64_t tokens,
                                               const Target::PrefillProgress& progress) {
  auto draft = DraftDocument(tokens);
  if (!draft.ok()) {
    return draft.status();
  }
  Adopt("documents/" + draft->id);
  return target_->Upload(draft->id, draft->text, progress);
}

absl::StatusOr<std::vector<std::string>> Bench::Documents(int64_t count) {
  std::vector<std::string> names;
  for (const std::string& name : options_.existing) {
    auto found = Find(name);
    if (!found.ok()) {
      return found.status();
    }
    names.push_back(found->name);
  }
  if (!names.empty()) {
    return names;
  }
  double seconds = 0;
  int64_t tokens = 0;
  for (int64_t i = 0; i < count; ++i) {
    auto document = Upload(options_.document_tokens, [&](int64_t done, int64_t total) {
      progress_.Draw(
          absl::StrFormat("document %d of %d: %d of %d tokens read", i + 1, count, done, total));
    });
    if (!document.ok()) {
      return document.status();
    }
    names.push_back(document->name);
    // Closer than the small document knew it.
    bytes_per_token_ = static_cast<double>(document->bytes) / static_cast<double>(document->tokens);
    seconds += document->seconds;
    tokens += document->tokens;
  }
  progress_.Say(absl::StrFormat("%d document%s of %d tokens read in %.1f s", count,
                                count == 1 ? "" : "s", tokens / count, seconds));
  return names;
}

absl::StatusOr<UploadedDocument> Bench::Find(const std::string& name) {
  auto found = target_->Find(name, nullptr);
  if (found.ok() && found->tokens > 0) {
    bytes_per_token_ = static_cast<double>(found->bytes) / static_cast<double>(found->tokens);
  }
  return found;
}

absl::StatusOr<LoadOptions> Bench::Questions(std::vector<std::string> documents) {
  if (absl::Status status = Calibrate(); !status.ok()) {
    return status;
  }
  LoadOptions load;
  load.documents = std::move(documents);
  const auto bytes =
      static_cast<int64_t>(bytes_per_token_ * static_cast<double>(options_.question_tokens));
  for (int64_t i = 0; i < options_.questions_per_document; ++i) {
    load.questions.push_back(QuestionText(bytes, options_.seed + static_cast<uint64_t>(i)));
  }
  load.answer_tokens = static_cast<int32_t>(options_.answer_tokens);
  load.temperature = static_cast<float>(options_.temperature);
  load.count_tokens = options_.count_tokens;
  load.seed = options_.seed;
  load.timeout_seconds = options_.timeout_seconds;
  return load;
}

std::unique_ptr<Load> Bench::MakeLoad(LoadOptions options, const std::string& label) {
  return std::make_unique<Load>(target_.get(), std::move(options), surface_->interrupted,
                                [this, label](double seconds, const Measurement& m) {
                                  progress_.Draw(LoadLine(label, seconds, m));
                                });
}

absl::StatusOr<Counters> Bench::ScrapeIfWanted() const {
  return options_.metrics.empty() ? Counters() : Scrape(options_.metrics);
}

absl::Status Bench::Measure(const LoadOptions& options, const std::string& label,
                            const std::function<void(Load&)>& begin, Measured* measured) {
  Measurement warmup;  // outlives the load, whose questions point to it
  const std::unique_ptr<Load> load = MakeLoad(options, label);
  begin(*load);
  absl::Status status;
  if (options_.warmup_seconds > 0) {
    status = load->Run(options_.warmup_seconds, 0, &warmup);
  }
  auto before = ScrapeIfWanted();
  if (status.ok()) {
    status = before.status();
  }
  if (!status.ok()) {
    return status;
  }
  const bool counted = options_.requests > 0;
  status =
      load->Run(counted ? kEndless : options_.duration_seconds, options_.requests, &measured->load);
  const auto after = ScrapeIfWanted();
  const absl::Status finished = load->Finish(options_.drain_seconds);
  progress_.Say(LoadLine(label, measured->load.seconds(), measured->load));
  if (after.ok()) {
    for (const auto& [name, value] : *after) {
      if (value != (*before)[name]) {
        measured->server[name] = value - (*before)[name];
      }
    }
  }
  return !status.ok() ? status : !after.ok() ? after.status() : finished;
}

Json Bench::Header() const {
  return {{"tool", "longleaf-bench"},
          {"version", kVersion},
          {"mode", ModeName(options_.mode)},
          {"address", options_.address},
          {"model", cli::ToJson(target_->model())},
          {"options",
           {{"connections", options_.connections},
            {"seed", options_.seed},
            {"document_tokens", options_.document_tokens},
            {"questions_per_document", options_.questions_per_document},
            {"question_tokens", options_.question_tokens},
            {"answer_tokens", options_.answer_tokens},
            {"temperature", options_.temperature},
            {"count_tokens", options_.count_tokens},
            {"duration_seconds", options_.duration_seconds},
            {"warmup_seconds", options_.warmup_seconds},
            {"requests", options_.requests}}}};
}

}  // namespace longleaf::service::bench
