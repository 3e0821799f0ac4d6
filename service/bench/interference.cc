// What the readers of one document feel while another, long one is being read by the model.
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "service/bench/figures.h"
#include "service/bench/modes.h"
#include "service/eval/table.h"

namespace longleaf::service::bench {
namespace {

constexpr double kEndless = 1e9;
constexpr double kLastAnswersSeconds = 5;  // they are of no interest once the prefill is done

// Long documents, uploaded one after another.
struct Prefill {
  int64_t tokens = 0;
  double seconds = 0;
  double tokens_per_second() const {
    return seconds > 0 ? static_cast<double>(tokens) / seconds : 0;
  }
};

Json ToJson(const Prefill& prefill) {
  return {{"tokens", prefill.tokens},
          {"seconds", prefill.seconds},
          {"tokens_per_second", prefill.tokens_per_second()}};
}

absl::StatusOr<Prefill> Read(Target& target, const std::vector<Bench::Draft>& drafts,
                             std::atomic<int64_t>* tokens_done) {
  Prefill all;
  for (const Bench::Draft& draft : drafts) {
    auto document = target.Upload(draft.id, draft.text, [&all, tokens_done](int64_t done, int64_t) {
      tokens_done->store(all.tokens + done);
    });
    if (!document.ok()) {
      return document.status();
    }
    all.tokens += document->tokens;
    all.seconds += document->seconds;
  }
  return all;
}

absl::StatusOr<std::vector<Bench::Draft>> MakeDrafts(Bench& bench) {
  std::vector<Bench::Draft> drafts;
  for (int64_t i = 0; i < bench.options().prefills; ++i) {
    auto draft = bench.DraftDocument(bench.options().prefill_tokens);
    if (!draft.ok()) {
      return draft.status();
    }
    bench.Adopt("documents/" + draft->id);
    drafts.push_back(*std::move(draft));
  }
  return drafts;
}

class Interference {
 public:
  Interference(Bench& bench, LoadOptions questions)
      : bench_(bench), questions_(std::move(questions)) {}

  absl::Status Run() {
    absl::Status status = Beside();
    if (status.ok() && !bench_.options().skip_alone) {
      status = Alone();
    }
    return status;
  }

  absl::Status Print(Json* report) const {
    Json result = {{"readers", bench_.options().readers}};
    eval::Table table({"readers' ITL", "tokens", "p50 ms", "p95 ms", "p99 ms", "max ms",
                       "mean ITL p50", "text gap p99", "readers' tokens/s"});
    const auto add = [&](const std::string& name, const Measurement& m) {
      std::vector<std::string> cells = {name, absl::StrCat(m.itl.count())};
      for (const double q : {0.50, 0.95, 0.99, 1.0}) {
        cells.push_back(Milliseconds(m.itl.Quantile(q)));
      }
      cells.push_back(Milliseconds(m.mean_itl.Quantile(0.5)));
      cells.push_back(Milliseconds(m.gaps.Quantile(0.99)));
      cells.push_back(Figure(m.tokens_per_second()));
      table.Add(std::move(cells));
    };
    add("idle", idle_);
    result["idle"] = bench::ToJson(idle_);
    std::string text;
    if (busy_.itl.count() > 0) {
      add("during prefill", busy_);
      result["busy"] = bench::ToJson(busy_);
    }
    text = table.ToString() + FailureLines("idle", idle_) + FailureLines("during prefill", busy_);
    if (beside_.tokens > 0) {
      const double idle = idle_.itl.Quantile(0.99);
      const double ratio = idle > 0 ? busy_.itl.Quantile(0.99) / idle : 0;
      result["itl_p99_ratio"] = ratio;
      const double gap = idle_.gaps.Quantile(0.99);
      const double gap_ratio = gap > 0 ? busy_.gaps.Quantile(0.99) / gap : 0;
      result["text_gap_p99_ratio"] = gap_ratio;
      result["prefill_beside"] = ToJson(beside_);
      absl::StrAppend(&text, "ITL p99 during prefill / idle: ", Figure(ratio),
                      "; of text gaps: ", Figure(gap_ratio), "\n");
      absl::StrAppendFormat(&text, "prefill beside them: %d tokens in %s s, %s tokens/s\n",
                            beside_.tokens, Figure(beside_.seconds),
                            Figure(beside_.tokens_per_second()));
    }
    if (alone_.tokens > 0) {
      result["prefill_alone"] = ToJson(alone_);
      absl::StrAppendFormat(&text, "prefill alone: %d tokens in %s s, %s tokens/s\n", alone_.tokens,
                            Figure(alone_.seconds), Figure(alone_.tokens_per_second()));
    }
    (*report)["results"].push_back(std::move(result));
    return bench_.surface().output(text)
               ? absl::OkStatus()
               : absl::PermissionDeniedError("standard output cannot be written");
  }

  bool measured() const { return idle_.itl.count() > 0; }

 private:
  absl::Status Beside() {
    const auto drafts = MakeDrafts(bench_);
    if (!drafts.ok()) {
      return drafts.status();
    }
    std::atomic<int64_t> read{0};
    Measurement warmup;
    // `load` may outlive no measurement.
    const std::unique_ptr<Load> load = bench_.MakeLoad(questions_, "readers");
    load->Closed(bench_.options().readers);
    absl::Status status;
    if (bench_.options().warmup_seconds > 0) {
      status = load->Run(bench_.options().warmup_seconds, 0, &warmup);
    }
    if (status.ok()) {
      status = load->Run(bench_.options().duration_seconds, 0, &idle_);
    }
    if (!status.ok()) {
      return status;
    }
    bench_.progress().Say(absl::StrFormat("idle: %d answers, %s tokens/s", idle_.answered,
                                          Figure(idle_.tokens_per_second())));
    absl::StatusOr<Prefill> prefill;
    std::atomic<bool> done{false};
    std::thread uploading([&] {
      prefill = Read(bench_.target(), *drafts, &read);
      done.store(true);
    });
    status = load->Run(kEndless, 0, &busy_, [&done] { return done.load(); });
    uploading.join();
    if (prefill.ok()) {
      beside_ = *prefill;
    } else if (status.ok()) {
      status = prefill.status();
    }
    bench_.progress().Say(absl::StrFormat("during prefill: %d answers, %s tokens/s", busy_.answered,
                                          Figure(busy_.tokens_per_second())));
    const absl::Status finished = load->Finish(kLastAnswersSeconds);
    return status.ok() ? finished : status;
  }

  absl::Status Alone() {
    const auto drafts = MakeDrafts(bench_);
    if (!drafts.ok()) {
      return drafts.status();
    }
    std::atomic<int64_t> read{0};
    auto prefill = Read(bench_.target(), *drafts, &read);
    if (prefill.ok()) {
      alone_ = *prefill;
    }
    return prefill.status();
  }

  Bench& bench_;
  const LoadOptions questions_;
  Measurement idle_;
  Measurement busy_;
  Prefill beside_;
  Prefill alone_;
};

}  // namespace

absl::Status RunInterference(Bench& bench, Json* report) {
  auto documents = bench.Documents(bench.options().documents);
  if (!documents.ok()) {
    return documents.status();
  }
  auto questions = bench.Questions(*std::move(documents));
  if (!questions.ok()) {
    return questions.status();
  }
  Interference interference(bench, *std::move(questions));
  absl::Status status = interference.Run();
  bench.progress().Clear();
  if (interference.measured()) {
    const absl::Status printed = interference.Print(report);
    status = status.ok() ? printed : status;
  }
  return status;
}

}  // namespace longleaf::service::bench
