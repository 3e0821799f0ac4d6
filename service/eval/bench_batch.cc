#include "service/eval/bench_batch.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "service/eval/random_weights.h"

namespace longleaf::service::eval {
namespace {

constexpr double kLeastSeconds = 1;

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

class Batch {
 public:
  Batch(Session& session, const kernels::State& document, const BatchPlan& plan)
      : session_(session), document_(document), plan_(plan) {}

  absl::StatusOr<BatchResult> Run() {
    while (result_.seconds < kLeastSeconds) {
      if (absl::Status status = Round(); !status.ok()) return status;
    }
    return result_;
  }

 private:
  absl::Status Round() {
    const auto begin = std::chrono::steady_clock::now();
    if (absl::Status status = AskAll(); !status.ok()) return status;
    const auto decoding = std::chrono::steady_clock::now();
    for (int64_t i = 1; i < plan_.answer_tokens; ++i) {
      std::vector<model::ForwardItem> items;
      for (size_t b = 0; b < branches_.size(); ++b) {
        items.push_back({.state = branches_[b].get(), .tokens = {&last_[b], 1}, .outputs = 1});
      }
      auto tokens = session_.NextTokens(items, Sampling());
      if (!tokens.ok()) return tokens.status();
      last_ = *std::move(tokens);
    }
    result_.decode_seconds += SecondsSince(decoding);
    result_.seconds += SecondsSince(begin);
    ++result_.rounds;
    result_.answer_tokens += plan_.branches * plan_.answer_tokens;
    result_.decode_tokens += plan_.branches * (plan_.answer_tokens - 1);
    return absl::OkStatus();
  }

  // Questions together, as many as fit into a step.
  absl::Status AskAll() {
    branches_.clear();
    last_.clear();
    const int64_t room = std::max<int64_t>(1, session_.options().chunk / plan_.question_tokens);
    while (static_cast<int64_t>(branches_.size()) < plan_.branches) {
      const int64_t count = std::min(room, plan_.branches - static_cast<int64_t>(branches_.size()));
      std::vector<std::vector<int32_t>> questions;
      std::vector<model::ForwardItem> items;
      for (int64_t i = 0; i < count; ++i) {
        auto branch = session_.backend().Branch(document_);
        if (!branch.ok()) return branch.status();
        branches_.push_back(*std::move(branch));
        questions.push_back(
            RandomTokens(plan_.question_tokens, session_.config().vocab, ++questions_));
        items.push_back(
            {.state = branches_.back().get(), .tokens = questions.back(), .outputs = 1});
      }
      auto tokens = session_.NextTokens(items, Sampling());
      if (!tokens.ok()) return tokens.status();
      last_.insert(last_.end(), tokens->begin(), tokens->end());
    }
    return absl::OkStatus();
  }

  kernels::SampleRequest Sampling() {
    kernels::SampleRequest request;
    request.temperature = plan_.temperature;
    request.uniform = static_cast<double>(random_.Below(1 << 30)) / (1 << 30);
    return request;
  }

  Session& session_;
  const kernels::State& document_;
  const BatchPlan plan_;
  SplitMix64 random_{3};
  uint64_t questions_ = 0;
  std::vector<std::unique_ptr<kernels::State>> branches_;
  std::vector<int32_t> last_;  // [branches_.size()] the token that each has to read next
  BatchResult result_;
};

}  // namespace

absl::StatusOr<BatchResult> RunBatch(Session& session, const kernels::State& document,
                                     const BatchPlan& plan) {
  return Batch(session, document, plan).Run();
}

}  // namespace longleaf::service::eval
