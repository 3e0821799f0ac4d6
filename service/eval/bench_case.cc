#include "service/eval/bench_case.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "cache_store/store.h"
#include "model/core_state.h"
#include "service/eval/machine.h"
#include "service/eval/plain_file.h"
#include "service/eval/progress.h"
#include "service/eval/random_weights.h"
#include "service/eval/stored_state.h"

namespace longleaf::service::eval {
namespace {

class Stopwatch {
 public:
  double Seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin_ = Clock::now();
};

absl::StatusOr<std::unique_ptr<store::Store>> OpenStore(const std::string& path) {
  store::StoreOptions options;
  options.path = path;
  return store::Store::Open(options);
}

// Runs one case; the steps share the session, the plan and what they have measured so far.
class BenchCase {
 public:
  BenchCase(Session& session, const kernels::AttentionPolicy& policy, const BenchPlan& plan)
      : session_(session),
        plan_(plan),
        store_path_(absl::StrCat(plan.store_folder, "/longleaf-bench-", getpid())),
        document_(RandomTokens(plan.tokens, session.config().vocab, 1)),
        question_(RandomTokens(plan.question_tokens, session.config().vocab, 2)) {
    result_.policy = policy;
    result_.tokens = plan.tokens;
  }
  ~BenchCase() {
    std::error_code ignored;
    std::filesystem::remove_all(store_path_, ignored);
  }
  BenchCase(const BenchCase&) = delete;
  BenchCase& operator=(const BenchCase&) = delete;

  absl::StatusOr<BenchResult> Run() {
    ResetPeakMemory();
    for (auto step :
         {&BenchCase::WarmUp, &BenchCase::Prefill, &BenchCase::Save, &BenchCase::AnswerFromMemory,
          &BenchCase::AnswerBatch, &BenchCase::AnswerFromDisk, &BenchCase::PlainFile}) {
      if (absl::Status status = (this->*step)(); !status.ok()) return status;
    }
    result_.peak_memory_bytes = PeakMemoryBytes();
    return result_;
  }

 private:
  // A server has long taken its first step when a document comes: code is generated, weights and
  // activations are in memory.
  absl::Status WarmUp() {
    auto scratch = session_.NewState(result_.policy);
    if (!scratch.ok()) return scratch.status();
    const auto rows = static_cast<size_t>(std::min(plan_.tokens, session_.options().chunk));
    return session_.NextToken(**scratch, absl::MakeConstSpan(document_).subspan(0, rows)).status();
  }

  absl::Status Prefill() {
    auto state = session_.NewState(result_.policy);
    if (!state.ok()) return state.status();
    state_ = *std::move(state);
    Progress progress(absl::StrCat("prefill, ", result_.policy.ToString()), plan_.tokens);
    const Stopwatch watch;
    const absl::Status status = session_.Read(
        *state_, document_, 1, [this, &progress](int64_t done, const kernels::Tensor& logits) {
          progress.Update(done);
          // A device that works by itself is done when it gives the last row.
          std::vector<float> row(static_cast<size_t>(logits.rows * logits.cols));
          return session_.backend().ToHost(logits, row.data());
        });
    result_.prefill_seconds = watch.Seconds();
    if (!status.ok()) return status;
    result_.cost = CostOfPrefill(session_.Size(result_.policy), plan_.tokens);
    result_.memory_state_bytes = state_->bytes();
    result_.state_bytes_arithmetic = model::StateBytes(state_->shape(), plan_.tokens);
    result_.full_cache_bytes = model::FullCacheBytes(state_->shape(), plan_.tokens);
    return absl::OkStatus();
  }

  bool stores() const { return !plan_.store_folder.empty(); }

  absl::Status Save() {
    if (!stores()) return absl::OkStatus();
    auto store = OpenStore(store_path_);
    if (!store.ok()) return store.status();
    const Stopwatch watch;
    auto snapshot = SaveState(**store, session_, *state_, document_);
    result_.save_seconds = watch.Seconds();
    if (!snapshot.ok()) return snapshot.status();
    result_.state_bytes = (*snapshot)->bytes();
    return absl::OkStatus();
  }

  // The token after the question; leaves the branch behind it.
  absl::StatusOr<int32_t> FirstToken(const kernels::State& document,
                                     std::unique_ptr<kernels::State>* branch) {
    auto made = session_.backend().Branch(document);
    if (!made.ok()) return made.status();
    *branch = *std::move(made);
    return session_.NextToken(**branch, question_);
  }

  absl::Status AnswerFromMemory() {
    std::unique_ptr<kernels::State> branch;
    const Stopwatch first;
    auto token = FirstToken(*state_, &branch);
    result_.ttft_memory_seconds = first.Seconds();
    if (!token.ok()) return token.status();
    live_token_ = *token;
    const Stopwatch rest;
    for (int64_t i = 0; i < plan_.decode_tokens; ++i) {
      token = session_.NextToken(*branch, {*token});
      if (!token.ok()) return token.status();
    }
    result_.decode_seconds = rest.Seconds();
    result_.decode_tokens = plan_.decode_tokens;
    return absl::OkStatus();
  }

  absl::Status AnswerBatch() {
    if (plan_.batch == 0) return absl::OkStatus();
    auto batch = RunBatch(session_, *state_,
                          {.branches = plan_.batch,
                           .question_tokens = plan_.question_tokens,
                           .answer_tokens = plan_.decode_tokens,
                           .temperature = plan_.temperature});
    if (!batch.ok()) return batch.status();
    result_.batch = *batch;
    return absl::OkStatus();
  }

  absl::Status AnswerFromDisk() {
    if (!stores()) return absl::OkStatus();
    state_.reset();
    if (absl::Status status = DropPageCache(store_path_); !status.ok()) return status;
    auto store = OpenStore(store_path_);
    if (!store.ok()) return store.status();
    const Stopwatch watch;
    auto restored = RestoreState(**store, session_, result_.policy, document_);
    result_.restore_seconds = watch.Seconds();
    if (!restored.ok()) return restored.status();
    std::unique_ptr<kernels::State> branch;
    auto token = FirstToken(**restored, &branch);
    result_.ttft_disk_seconds = watch.Seconds();
    if (!token.ok()) return token.status();
    if (*token != live_token_) {
      return absl::InternalError("the restored state gives another answer than the live one");
    }
    return absl::OkStatus();
  }

  absl::Status PlainFile() {
    if (!stores()) return absl::OkStatus();
    auto plain = MeasurePlainFile(plan_.store_folder, result_.state_bytes);
    if (!plain.ok()) return plain.status();
    result_.plain_write_seconds = plain->write;
    result_.plain_read_seconds = plain->read;
    return absl::OkStatus();
  }

  Session& session_;
  const BenchPlan plan_;
  const std::string store_path_;
  const std::vector<int32_t> document_;  // [plan_.tokens]
  const std::vector<int32_t> question_;  // [plan_.question_tokens]
  std::unique_ptr<kernels::State> state_;
  int32_t live_token_ = 0;
  BenchResult result_;
};

}  // namespace

absl::StatusOr<BenchResult> RunBenchCase(Session& session, const kernels::AttentionPolicy& policy,
                                         const BenchPlan& plan) {
  return BenchCase(session, policy, plan).Run();
}

}  // namespace longleaf::service::eval
