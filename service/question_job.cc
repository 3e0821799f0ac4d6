#include "service/question_job.h"

#include <algorithm>
#include <utility>

namespace longleaf::service {
namespace {

double Seconds(QuestionJob::Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

QuestionJob::QuestionJob(QuestionRequest request, std::shared_ptr<AnswerStream> stream,
                         const ServedModel* model)
    : request_(std::move(request)),
      flow_{request_.document.tenant, request_.document.id},
      stream_(std::move(stream)),
      model_(model),
      sampler_(request_.sampling),
      decoder_(&model->tokenizer(), {.strip_leading_space = request_.strip_leading_space}),
      stop_(*request_.stop) {}

int64_t QuestionJob::TokensAtMost() const {
  return static_cast<int64_t>(request_.tokens.size()) + request_.sampling.max_tokens;
}

void QuestionJob::Begin(std::unique_ptr<kernels::State> branch, Source source) {
  state_ = std::move(branch);
  source_ = std::move(source);
  const int64_t room =
      model_->context_length() - state_->tokens() - static_cast<int64_t>(request_.tokens.size());
  limited_by_context_ = room < request_.sampling.max_tokens;
  max_tokens_ = std::min<int64_t>(room, request_.sampling.max_tokens);
  if (request_.max_evidence > 0) {
    evidence_.emplace(state_->shape().policy, source_.prefix_tokens, source_.document_tokens);
  }
  begun_ = Clock::now();
  stage_ = Stage::kReading;
}

void QuestionJob::Rewind() {
  stage_ = Stage::kWaiting;
  state_.reset();
  evidence_.reset();
  failed_restore = std::move(restore);
  restore = nullptr;
  held = false;
}

void QuestionJob::Announce(Metrics& metrics) {
  announced_ = true;
  metrics.ReusedTokens(source_.tokens_reused);
  AnswerStarted started;
  started.tier = source_.tier;
  started.tokens_reused = source_.tokens_reused;
  started.tokens_prefilled =
      source_.tokens_prefilled + static_cast<int64_t>(request_.tokens.size());
  started.document_tokens = source_.document_tokens;
  stream_->Push(started);
}

int64_t QuestionJob::tokens_to_read() const {
  return ended || stage_ == Stage::kAnswering
             ? 0
             : static_cast<int64_t>(request_.tokens.size()) - read_;
}

int64_t QuestionJob::RowsWanted() const {
  if (ended || stage_ == Stage::kWaiting) {
    return 0;
  }
  if (stage_ == Stage::kReading) {
    return tokens_to_read();
  }
  return stream_->HasRoom() ? 1 : 0;
}

absl::Span<const int32_t> QuestionJob::NextTokens(int64_t rows) const {
  if (stage_ == Stage::kReading) {
    return absl::MakeConstSpan(request_.tokens)
        .subspan(static_cast<size_t>(read_), static_cast<size_t>(rows));
  }
  return absl::MakeConstSpan(&last_token_, 1);
}

bool QuestionJob::WantsOutput(int64_t rows) const {
  return stage_ == Stage::kAnswering ||
         read_ + rows == static_cast<int64_t>(request_.tokens.size());
}

float* QuestionJob::AttentionMass(int64_t rows) {
  if (!evidence_.has_value() || !WantsOutput(rows)) {
    return nullptr;
  }
  return evidence_->Prepare(state_->tokens() + rows - 1);
}

kernels::SampleRequest QuestionJob::NextSample() { return sampler_.Next(); }

std::optional<absl::Status> QuestionJob::Advance(int64_t rows, const kernels::SampleResult* sample,
                                                 Metrics& metrics) {
  const Clock::time_point now = Clock::now();
  if (!announced_) {
    Announce(metrics);
  }
  if (stage_ == Stage::kReading) {
    read_ += rows;
    metrics.QuestionTokens(rows);
    if (sample == nullptr) {
      return std::nullopt;
    }
    stage_ = Stage::kAnswering;
    first_token_ = now;
    metrics.TimeToFirstToken(Seconds(now - request_.arrival));
  } else {
    metrics.InterTokenLatency(Seconds(now - last_token_time_));
  }
  last_token_time_ = now;
  if (evidence_.has_value()) {
    evidence_->Add();
  }
  last_token_ = sample->token;
  if (model_->tokenizer().IsEos(sample->token)) {
    return Finish(FinishReason::kEndOfText, metrics);
  }
  sampler_.Accept(sample->token);
  ++answer_tokens_;
  metrics.GeneratedTokens(1);
  if (request_.sampling.logprobs.has_value()) {
    held_logprobs_.push_back(Describe(*sample));
  }
  Emit(stop_.Push(decoder_.Push(sample->token)));
  if (stop_.stopped()) {
    return Finish(FinishReason::kStopString, metrics);
  }
  if (answer_tokens_ >= max_tokens_) {
    return Finish(limited_by_context_ ? FinishReason::kContextFull : FinishReason::kMaxTokens,
                  metrics);
  }
  return std::nullopt;
}

void QuestionJob::Emit(std::string text) {
  if (text.empty()) {
    return;  // a token's text may be held back; its logprobs wait with it
  }
  stream_->Push(AnswerText{std::move(text), std::exchange(held_logprobs_, {})});
}

TokenLogprobs QuestionJob::Describe(const kernels::SampleResult& sample) const {
  const auto candidate = [this](int32_t token, float logprob) {
    const model::Tokenizer::Rendering piece = model_->tokenizer().Render(token);
    std::string text(piece.text);
    if (piece.kind == model::Tokenizer::Rendering::Kind::kByte) {
      text.assign(1, static_cast<char>(piece.byte));
    }
    return TokenCandidate{token, std::move(text), logprob};
  };
  TokenLogprobs out;
  out.chosen = candidate(sample.token, sample.logprob);
  for (const kernels::TokenLogprob& other : sample.top) {
    out.top.push_back(candidate(other.token, other.logprob));
  }
  return out;
}

absl::Status QuestionJob::Finish(FinishReason reason, Metrics&) {
  finish_reason_ = reason;
  if (reason != FinishReason::kStopString) {
    std::string rest = stop_.Push(decoder_.Flush());
    rest += stop_.Flush();
    Emit(std::move(rest));
  }
  if (!held_logprobs_.empty()) {
    stream_->Push(AnswerText{"", std::exchange(held_logprobs_, {})});
  }
  const Clock::time_point now = Clock::now();
  AnswerFinished finished;
  finished.reason = reason;
  finished.document_tokens = source_.document_tokens;
  finished.question_tokens = static_cast<int64_t>(request_.tokens.size());
  finished.answer_tokens = answer_tokens_;
  finished.tokens_reused = source_.tokens_reused;
  finished.tokens_prefilled = source_.tokens_prefilled + finished.question_tokens;
  finished.restore_seconds = source_.restore_seconds;
  finished.queue_seconds =
      std::max(0.0, Seconds(begun_ - request_.arrival) - source_.restore_seconds);
  finished.prefill_seconds = Seconds(first_token_ - begun_);
  finished.first_token_seconds = Seconds(first_token_ - request_.arrival);
  finished.decode_seconds = Seconds(now - first_token_);
  finished.total_seconds = Seconds(now - request_.arrival);
  finished.seed = sampler_.seed();
  if (evidence_.has_value()) {
    finished.evidence = evidence_->Strongest(request_.max_evidence, *source_.token_ends);
  }
  stream_->Push(std::move(finished));
  return absl::OkStatus();
}

}  // namespace longleaf::service
