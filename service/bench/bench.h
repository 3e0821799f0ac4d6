// What all modes need: the server, documents of the wanted length on it, and one measurement.
#ifndef LONGLEAF_SERVICE_BENCH_BENCH_H_
#define LONGLEAF_SERVICE_BENCH_BENCH_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/bench/load.h"
#include "service/bench/measurement.h"
#include "service/bench/options.h"
#include "service/bench/scrape.h"
#include "service/bench/surface.h"
#include "service/bench/target.h"

namespace longleaf::service::bench {

// A measurement, and what the server's counters gained meanwhile (empty without --metrics).
struct Measured {
  Measurement load;
  Counters server;

  // Answer tokens for one reading of the weights; 0: unknown.
  double tokens_per_weight_pass() const;
};
Json ToJson(const Measured& measured);

// Not thread-safe.
class Bench {
 public:
  // `surface` outlives it.
  static absl::StatusOr<std::unique_ptr<Bench>> Open(const Options& options,
                                                     const Surface* surface);
  // Deletes what was uploaded, unless --keep.
  ~Bench();
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  const Options& options() const { return options_; }
  Target& target() { return *target_; }
  ProgressLine& progress() { return progress_; }
  const Surface& surface() const { return *surface_; }

  // One more document of about `tokens` tokens, ACTIVE; INVALID_ARGUMENT when it and a question are
  // too long for the model. `progress` is told the tokens read, from the caller's thread. Texts and
  // names are the run's own, so that nothing is taken from an earlier one.
  absl::StatusOr<UploadedDocument> Upload(int64_t tokens, const Target::PrefillProgress& progress);
  // The same in two steps, for another thread to do the second: with Target::Upload.
  struct Draft {
    std::string id;
    std::string text;
  };
  absl::StatusOr<Draft> DraftDocument(int64_t tokens);
  // One that `Target::Upload` brought: to be deleted at the end, too.
  void Adopt(const std::string& name) { uploaded_.push_back(name); }

  // --document's documents, else `count` new ones of --document-tokens.
  absl::StatusOr<std::vector<std::string>> Documents(int64_t count);
  // One that is there already.
  absl::StatusOr<UploadedDocument> Find(const std::string& name);

  // What Load asks about `documents`, as the options say.
  absl::StatusOr<LoadOptions> Questions(std::vector<std::string> documents);
  std::unique_ptr<Load> MakeLoad(LoadOptions options, const std::string& label);
  // Warms up, then measures for the time or the number of questions that the options say, then
  // waits for the last answers. `begin` starts the closed or open loop. After an error, CANCELLED
  // among them, `*measured` holds what there was until then.
  absl::Status Measure(const LoadOptions& load, const std::string& label,
                       const std::function<void(Load&)>& begin, Measured* measured);

  // The report's beginning: tool, server, model, options.
  Json Header() const;

 private:
  Bench(const Options& options, const Surface* surface)
      : options_(options), surface_(surface), progress_(surface, options.quiet) {}
  // Learns how many bytes a token is, from a small document.
  absl::Status Calibrate();
  absl::StatusOr<Counters> ScrapeIfWanted() const;

  const Options options_;
  const Surface* const surface_;
  ProgressLine progress_;
  std::unique_ptr<Target> target_;
  std::string run_;  // begins the documents' ids
  uint64_t run_seed_ = 0;
  int64_t drafts_ = 0;
  double bytes_per_token_ = 0;  // 0: not known yet
  std::vector<std::string> uploaded_;
};

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_BENCH_H_
