#include "service/answer_stream.h"

#include <iterator>
#include <utility>

namespace longleaf::service {
namespace {

int64_t Bytes(const TokenCandidate& candidate) {
  return static_cast<int64_t>(sizeof(candidate) + candidate.text.size());
}

int64_t Bytes(const AnswerText& text) {
  auto bytes = static_cast<int64_t>(text.text.size());
  for (const TokenLogprobs& token : text.logprobs) {
    bytes += Bytes(token.chosen);
    for (const TokenCandidate& other : token.top) {
      bytes += Bytes(other);
    }
  }
  return bytes;
}

// What an event holds in memory, about.
int64_t Bytes(const AnswerEvent& event) {
  auto bytes = static_cast<int64_t>(sizeof(event));
  if (const auto* text = std::get_if<AnswerText>(&event)) {
    bytes += Bytes(*text);
  } else if (const auto* finished = std::get_if<AnswerFinished>(&event)) {
    bytes += static_cast<int64_t>(finished->evidence.size() * sizeof(EvidenceSpan));
  }
  return bytes;
}

}  // namespace

// `ready_` is called with the lock held: Cancel can then promise that it does not run afterwards,
// which the call's object relies on to be deleted.
void AnswerStream::OnReady(std::function<void()> ready) {
  MutexLock lock(&mutex_);
  if (cancelled()) {
    return;
  }
  ready_ = std::move(ready);
  if (!events_.empty() || status_.has_value()) {
    Wake();
  }
}

void AnswerStream::Wake() {
  if (!woken_ && ready_) {
    woken_ = true;
    ready_();
  }
}

std::optional<AnswerEvent> AnswerStream::Pop() {
  std::function<void()> room;
  std::optional<AnswerEvent> event;
  {
    MutexLock lock(&mutex_);
    if (events_.empty()) {
      woken_ = false;
      return std::nullopt;
    }
    const bool full = bytes_ >= capacity_bytes_;
    event = std::move(events_.front());
    events_.pop_front();
    bytes_ -= Bytes(*event);
    if (full && bytes_ < capacity_bytes_) {
      room = room_;
    }
  }
  if (room) {
    room();
  }
  return event;
}

std::optional<absl::Status> AnswerStream::Closed() const {
  MutexLock lock(&mutex_);
  return events_.empty() ? status_ : std::nullopt;
}

void AnswerStream::Cancel() {
  std::function<void()> room;
  {
    MutexLock lock(&mutex_);
    cancelled_.store(true, std::memory_order_relaxed);
    ready_ = nullptr;
    room = room_;
  }
  if (room) {
    room();  // wakes an engine that has nothing else to do
  }
}

void AnswerStream::OnRoom(std::function<void()> room) {
  MutexLock lock(&mutex_);
  room_ = std::move(room);
}

bool AnswerStream::HasRoom() const {
  MutexLock lock(&mutex_);
  return bytes_ < capacity_bytes_;
}

void AnswerStream::Push(AnswerEvent event) {
  MutexLock lock(&mutex_);
  if (status_.has_value()) {
    return;
  }
  const bool text = std::holds_alternative<AnswerText>(event);
  if (events_.empty() || !Join(event)) {
    bytes_ += Bytes(event);
    events_.push_back(std::move(event));
  }
  if (woken_) {
    return;
  }
  if (text && text_interval_ > Clock::duration(0)) {
    const Clock::time_point now = Clock::now();
    if (now < next_text_ && bytes_ < kJoinedBytes) {
      return;
    }
    next_text_ = now + text_interval_;
  }
  Wake();
}

void AnswerStream::Flush(Clock::time_point now) {
  MutexLock lock(&mutex_);
  if (!events_.empty() && now >= next_text_) {
    Wake();
  }
}

bool AnswerStream::Join(AnswerEvent& event) {
  AnswerEvent& last = events_.back();
  if (std::holds_alternative<Progress>(event) && std::holds_alternative<Progress>(last)) {
    last = std::move(event);
    return true;
  }
  auto* const text = std::get_if<AnswerText>(&event);
  auto* const before = std::get_if<AnswerText>(&last);
  if (text == nullptr || before == nullptr) {
    return false;
  }
  const int64_t added = Bytes(*text);
  if (Bytes(*before) + added > kJoinedBytes) {
    return false;
  }
  before->text += text->text;
  before->logprobs.insert(before->logprobs.end(), std::make_move_iterator(text->logprobs.begin()),
                          std::make_move_iterator(text->logprobs.end()));
  bytes_ += added;
  return true;
}

void AnswerStream::Close(absl::Status status) {
  MutexLock lock(&mutex_);
  if (status_.has_value()) {
    return;
  }
  status_ = std::move(status);
  room_ = nullptr;
  Wake();
}

}  // namespace longleaf::service
