#include "service/answer_stream.h"

#include <utility>

namespace longleaf::service {

// `ready_` is called with the lock held: Cancel can then promise that it does not run afterwards,
// which the call's object relies on to be deleted.
void AnswerStream::OnReady(std::function<void()> ready) {
  MutexLock lock(&mutex_);
  if (cancelled()) {
    return;
  }
  ready_ = std::move(ready);
  if (!events_.empty() || status_.has_value()) {
    ready_();
  }
}

std::optional<AnswerEvent> AnswerStream::Pop() {
  std::function<void()> room;
  std::optional<AnswerEvent> event;
  {
    MutexLock lock(&mutex_);
    if (events_.empty()) {
      return std::nullopt;
    }
    if (events_.size() >= capacity_) {
      room = room_;
    }
    event = std::move(events_.front());
    events_.pop_front();
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
  return events_.size() < capacity_;
}

void AnswerStream::Push(AnswerEvent event) {
  MutexLock lock(&mutex_);
  if (std::holds_alternative<Progress>(event) && !events_.empty() &&
      std::holds_alternative<Progress>(events_.back())) {
    events_.back() = std::move(event);
    return;
  }
  events_.push_back(std::move(event));
  if (ready_) {
    ready_();
  }
}

void AnswerStream::Close(absl::Status status) {
  MutexLock lock(&mutex_);
  if (status_.has_value()) {
    return;
  }
  status_ = std::move(status);
  room_ = nullptr;
  if (ready_) {
    ready_();
  }
}

}  // namespace longleaf::service
