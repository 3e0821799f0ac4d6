// The questions in flight: asked one after another by a fixed number of clients (closed loop), or
// at given moments whatever the server does (open loop). All calls share one completion queue and
// the caller's thread, so that hundreds of clients cost what their messages cost.
#ifndef LONGLEAF_SERVICE_BENCH_LOAD_H_
#define LONGLEAF_SERVICE_BENCH_LOAD_H_

#include <grpcpp/completion_queue.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "service/bench/arrivals.h"
#include "service/bench/measurement.h"
#include "service/bench/target.h"

namespace longleaf::service::bench {

struct LoadOptions {
  std::vector<std::string>
      documents;  // names; client i (or arrival i) asks about number i mod size
  std::vector<std::string> questions;  // taken in turn
  int32_t answer_tokens = 64;          // max_tokens
  float temperature = 0;
  bool count_tokens = false;  // ask for log-probabilities: one comes with each token
  uint64_t seed = 1;
  double timeout_seconds = 600;  // deadline of a question
};

// For one thread.
class Load {
 public:
  // `target` outlives the load. `tick` (may be empty) runs ten times a second or so with the
  // seconds since the stretch began; `interrupted` is asked as often.
  Load(Target* target, LoadOptions options, std::function<bool()> interrupted,
       std::function<void(double seconds, const Measurement&)> tick);
  // Cancels what is in flight and waits for its end.
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // One of these, once. In the closed loop a client whose question was refused waits as long as the
  // server's RetryInfo says, at least a tenth of a second. In the open loop an arrival that finds
  // `most_outstanding` questions in flight is not sent and counted as CLIENT_LIMIT.
  void Closed(int64_t clients);
  void Open(double rate, uint64_t seed, int64_t most_outstanding);

  // One stretch: loads the server for `seconds`, or until `enough` (if not empty; asked ten times a
  // second) or, where `requests` is not 0, until that many questions have been asked and answered.
  // What it measures goes to `*into`, which has to live until Finish or the destructor. The load
  // goes on without a gap when the next stretch begins. CANCELLED when interrupted; an error when
  // nothing but failures comes back.
  absl::Status Run(double seconds, int64_t requests, Measurement* into,
                   const std::function<bool()>& enough = nullptr);
  // Asks no more and waits for the answers, at most so long; then cancels. Questions of measured
  // stretches that did not end count as UNFINISHED.
  absl::Status Finish(double seconds);

  int64_t outstanding() const { return outstanding_; }

 private:
  struct Call;

  double Now() const;
  void StartWhatIsDue(double now);
  void Start(int64_t slot, double due);
  // Waits for an event or the next thing to do; at most until `until`.
  void Pump(double until);
  void OnEvent(Call* call, bool ok);
  void OnResponse(Call& call, double now);
  void OnText(Call& call, int64_t tokens, double now);
  void OnEnd(Call& call, double now);
  void FreeSlot(int64_t slot, double at);
  void CancelAll();
  void Await(double until);
  bool MayStart() const;

  Target* const target_;
  const LoadOptions options_;
  const std::function<bool()> interrupted_;
  const std::function<void(double, const Measurement&)> tick_;
  grpc::CompletionQueue queue_;

  bool closed_loop_ = true;
  std::optional<PoissonArrivals> arrivals_;
  double open_begin_ = 0;
  double next_arrival_ = 0;
  int64_t most_outstanding_ = 0;
  std::vector<std::pair<double, int64_t>> free_slots_;  // heap, earliest first: may ask from when

  std::vector<std::unique_ptr<Call>> calls_;  // by index; finished ones are reused
  std::vector<size_t> idle_calls_;
  int64_t outstanding_ = 0;
  int64_t asked_ = 0;
  bool asking_ = false;
  bool giving_up_ = false;  // ends are UNFINISHED
  Measurement* current_ = nullptr;
  int64_t requests_left_ = -1;  // negative: no limit
  int64_t failures_in_a_row_ = 0;
  absl::Status last_failure_;
};

}  // namespace longleaf::service::bench

#endif  // LONGLEAF_SERVICE_BENCH_LOAD_H_
