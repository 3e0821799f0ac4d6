#include "service/bench/load.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/async_stream.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "absl/strings/str_cat.h"
#include "service/cli/json_output.h"
#include "service/cli/status_text.h"

namespace longleaf::service::bench {
namespace {

constexpr double kForever = std::numeric_limits<double>::infinity();
constexpr double kTickSeconds = 0.1;
constexpr double kLeastRetrySeconds = 0.1;
// So many failures without one answer between them: the run measures nothing.
constexpr int64_t kHopelessFailures = 50;
constexpr double kCancelSeconds = 30;  // a cancelled call ends within a step

double ToSeconds(const google::protobuf::Duration& duration) {
  return absl::ToDoubleSeconds(cli::ToDuration(duration));
}

}  // namespace

struct Load::Call {
  enum class Stage { kStarting, kReading, kFinishing };

  size_t index = 0;
  // gRPC's objects are for one call each.
  std::optional<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncReader<v1::AskResponse>> reader;
  v1::AskResponse event;
  grpc::Status status;
  Stage stage = Stage::kStarting;

  int64_t slot = 0;
  double due = 0;
  double last_text = -1;  // negative: none yet
  int64_t tokens = 0;     // counted so far
  std::optional<v1::Finished> finished;
  Measurement* into = nullptr;  // where the question counts; null: nowhere
};

Load::Load(Target* target, LoadOptions options, std::function<bool()> interrupted,
           std::function<void(double seconds, const Measurement&)> tick)
    : target_(target),
      options_(std::move(options)),
      interrupted_(std::move(interrupted)),
      tick_(std::move(tick)) {}

Load::~Load() {
  asking_ = false;
  giving_up_ = true;
  current_ = nullptr;
  for (const std::unique_ptr<Call>& call : calls_) {
    call->into = nullptr;  // may be gone
  }
  CancelAll();
  Await(kForever);
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

double Load::Now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void Load::Closed(int64_t clients) {
  closed_loop_ = true;
  for (int64_t i = 0; i < clients; ++i) {
    FreeSlot(i, 0);
  }
}

void Load::Open(double rate, uint64_t seed, int64_t most_outstanding) {
  closed_loop_ = false;
  arrivals_.emplace(rate, seed);
  open_begin_ = Now();
  next_arrival_ = open_begin_ + arrivals_->Next();
  most_outstanding_ = most_outstanding;
}

void Load::FreeSlot(int64_t slot, double at) {
  free_slots_.emplace_back(at, slot);
  std::push_heap(free_slots_.begin(), free_slots_.end(), std::greater<>());
}

bool Load::MayStart() const { return asking_ && requests_left_ != 0; }

void Load::StartWhatIsDue(double now) {
  if (closed_loop_) {
    while (MayStart() && !free_slots_.empty() && free_slots_.front().first <= now) {
      const int64_t slot = free_slots_.front().second;
      std::pop_heap(free_slots_.begin(), free_slots_.end(), std::greater<>());
      free_slots_.pop_back();
      Start(slot, Now());
    }
    return;
  }
  // However late this thread is: the question was due when it was due, and is measured from there.
  while (MayStart() && next_arrival_ <= now) {
    if (outstanding_ >= most_outstanding_) {
      ++current_->asked;
      ++current_->failures[kClientLimit];
      requests_left_ -= requests_left_ > 0 ? 1 : 0;
    } else {
      Start(asked_, next_arrival_);
    }
    next_arrival_ = open_begin_ + arrivals_->Next();
  }
}

void Load::Start(int64_t slot, double due) {
  if (idle_calls_.empty()) {
    idle_calls_.push_back(calls_.size());
    calls_.emplace_back();
  }
  const size_t index = idle_calls_.back();
  idle_calls_.pop_back();
  calls_[index] = std::make_unique<Call>();
  Call& call = *calls_[index];
  call.index = index;
  call.slot = slot;
  call.due = due;
  call.into = current_;

  v1::AskRequest request;
  const auto documents = static_cast<int64_t>(options_.documents.size());
  const auto questions = static_cast<int64_t>(options_.questions.size());
  request.set_document(options_.documents[static_cast<size_t>(slot % documents)]);
  request.set_question(options_.questions[static_cast<size_t>(asked_ % questions)]);
  v1::Sampling& sampling = *request.mutable_sampling();
  sampling.set_max_tokens(options_.answer_tokens);
  sampling.set_temperature(options_.temperature);
  sampling.set_seed(options_.seed + static_cast<uint64_t>(asked_));
  if (options_.count_tokens) {
    sampling.set_logprobs(0);
  }
  call.context.emplace();
  call.context->set_deadline(
      std::chrono::system_clock::now() +
      std::chrono::milliseconds(static_cast<int64_t>(1000 * options_.timeout_seconds)));
  call.reader = target_->questions(static_cast<size_t>(slot))
                    .PrepareAsyncAsk(&*call.context, request, &queue_);
  call.reader->StartCall(&call);
  ++asked_;
  ++outstanding_;
  ++current_->asked;
  current_->most_outstanding = std::max(current_->most_outstanding, outstanding_);
  requests_left_ -= requests_left_ > 0 ? 1 : 0;
}

void Load::Pump(double until) {
  double wake = until;
  if (MayStart()) {
    const double due = !closed_loop_          ? next_arrival_
                       : !free_slots_.empty() ? free_slots_.front().first
                                              : kForever;
    wake = std::min(wake, due);
  }
  const double wait = std::max(0.0, wake - Now());
  const auto deadline = std::chrono::system_clock::now() +
                        std::chrono::microseconds(static_cast<int64_t>(1e6 * wait));
  void* tag = nullptr;
  bool ok = false;
  if (queue_.AsyncNext(&tag, &ok, deadline) == grpc::CompletionQueue::GOT_EVENT) {
    OnEvent(static_cast<Call*>(tag), ok);
  }
}

void Load::OnEvent(Call* call, bool ok) {
  const double now = Now();
  switch (call->stage) {
    case Call::Stage::kStarting:
      call->stage = Call::Stage::kReading;
      break;
    case Call::Stage::kReading:
      if (ok) {
        OnResponse(*call, now);
      }
      break;
    case Call::Stage::kFinishing:
      OnEnd(*call, now);
      return;
  }
  if (ok) {
    call->reader->Read(&call->event, call);
  } else {
    call->stage = Call::Stage::kFinishing;
    call->reader->Finish(&call->status, call);
  }
}

void Load::OnResponse(Call& call, double now) {
  switch (call.event.event_case()) {
    case v1::AskResponse::kText:
      OnText(call, options_.count_tokens ? call.event.text().logprobs_size() : 1, now);
      break;
    case v1::AskResponse::kStarted:
      if (call.into != nullptr) {
        ++call.into->tiers[cli::Word(call.event.started().tier())];
      }
      break;
    case v1::AskResponse::kFinished:
      call.finished = std::move(*call.event.mutable_finished());
      // Tokens whose text was held back until others came, or that have none.
      if (current_ != nullptr) {
        current_->tokens += call.finished->usage().answer_tokens() - call.tokens;
      }
      break;
    default:
      break;
  }
}

void Load::OnText(Call& call, int64_t tokens, double now) {
  if (call.last_text < 0) {
    if (call.into != nullptr) {
      call.into->ttft.Add(std::max(0.0, now - call.due));
    }
    if (current_ != nullptr) {
      current_->first_texts_tokens += tokens;
    }
  } else if (current_ != nullptr) {
    const double gap = now - call.last_text;
    current_->gaps.Add(gap);
    current_->itl.Add(gap / static_cast<double>(std::max<int64_t>(1, tokens)), tokens);
  }
  call.last_text = now;
  call.tokens += tokens;
  if (current_ != nullptr) {
    current_->tokens += tokens;
    ++current_->texts;
  }
}

void Load::OnEnd(Call& call, double now) {
  --outstanding_;
  double free_at = now;
  if (call.status.ok() && call.finished.has_value()) {
    failures_in_a_row_ = 0;
    if (call.into != nullptr) {
      Measurement& m = *call.into;
      const v1::Timings& timings = call.finished->timings();
      const int64_t tokens = call.finished->usage().answer_tokens();
      ++m.answered;
      ++m.finish_reasons[cli::Word(call.finished->reason())];
      m.question_tokens += call.finished->usage().question_tokens();
      m.answer_tokens += tokens;
      m.latency.Add(std::max(0.0, now - call.due));
      m.queue.Add(ToSeconds(timings.queue()));
      if (call.last_text < 0) {
        m.ttft.Add(std::max(0.0, now - call.due));
      }
      if (tokens > 1) {
        m.mean_itl.Add(ToSeconds(timings.decode()) / static_cast<double>(tokens - 1));
      }
    }
  } else if (giving_up_) {
    if (call.into != nullptr) {
      ++call.into->failures[kUnfinished];
    }
  } else {
    const cli::Failure failure = cli::DecodeFailure(call.status);
    last_failure_ = call.status.ok() ? absl::InternalError("an answer ended without its end")
                                     : target_->Explain(call.status);
    ++failures_in_a_row_;
    if (call.into != nullptr) {
      ++call.into->failures[failure.reason.empty() ? absl::StatusCodeToString(last_failure_.code())
                                                   : failure.reason];
    }
    free_at += std::max(kLeastRetrySeconds,
                        absl::ToDoubleSeconds(failure.retry_delay.value_or(absl::ZeroDuration())));
  }
  if (closed_loop_) {
    FreeSlot(call.slot, free_at);
  }
  call.reader.reset();
  call.context.reset();
  idle_calls_.push_back(call.index);
}

absl::Status Load::Run(double seconds, int64_t requests, Measurement* into,
                       const std::function<bool()>& enough) {
  current_ = into;
  asking_ = true;
  requests_left_ = requests > 0 ? requests : -1;
  into->begin = Now();
  double next_tick = into->begin + kTickSeconds;
  absl::Status status;
  for (double now = into->begin;; now = Now()) {
    into->end = now;
    if (now >= into->begin + seconds || (requests_left_ == 0 && outstanding_ == 0)) {
      break;
    }
    if (now >= next_tick) {
      next_tick = now + kTickSeconds;
      if (tick_) {
        tick_(now - into->begin, *into);
      }
      if (interrupted_()) {
        status = absl::CancelledError("interrupted");
        break;
      }
      if (enough && enough()) {
        break;
      }
      const int64_t hopeless = std::max(kHopelessFailures, 2 * static_cast<int64_t>(calls_.size()));
      if (failures_in_a_row_ >= hopeless) {
        status = last_failure_;
        break;
      }
    }
    StartWhatIsDue(now);
    Pump(std::min(next_tick, into->begin + seconds));
  }
  asking_ = false;
  requests_left_ = -1;
  return status;
}

absl::Status Load::Finish(double seconds) {
  asking_ = false;
  current_ = nullptr;
  Await(Now() + seconds);
  const bool interrupted = interrupted_();
  giving_up_ = true;
  CancelAll();
  Await(Now() + kCancelSeconds);
  giving_up_ = false;
  return interrupted ? absl::CancelledError("interrupted") : absl::OkStatus();
}

void Load::CancelAll() {
  for (const std::unique_ptr<Call>& call : calls_) {
    if (call->context.has_value()) {
      call->context->TryCancel();
    }
  }
}

void Load::Await(double until) {
  while (outstanding_ > 0 && Now() < until && (giving_up_ || !interrupted_())) {
    Pump(std::min(until, Now() + kTickSeconds));
  }
}

}  // namespace longleaf::service::bench
