#include "service/progress_board.h"

#include <utility>

namespace longleaf::service {

std::unique_ptr<ProgressBoard::Subscription> ProgressBoard::Subscribe(
    const store::DocumentName& name, Listener listener) {
  MutexLock lock(&mutex_);
  const int64_t id = next_id_++;
  watchers_.emplace(id, Watcher{name, std::move(listener)});
  return std::make_unique<Subscription>(this, id);
}

void ProgressBoard::Unsubscribe(int64_t id) {
  MutexLock lock(&mutex_);
  watchers_.erase(id);
}

void ProgressBoard::Post(const store::DocumentName& name, const Entry& entry) {
  MutexLock lock(&mutex_);
  entries_[name] = entry;
  Notify(name);
}

void ProgressBoard::PostLast(const store::DocumentName& name, const Entry& entry) {
  constexpr size_t kKept = 1024;
  MutexLock lock(&mutex_);
  entries_[name] = entry;
  finished_.push_back(name);
  if (finished_.size() > kKept) {
    const auto oldest = entries_.find(finished_.front());
    // Unless it is being read anew.
    if (oldest != entries_.end() && oldest->second.state == store::DocumentState::kActive) {
      entries_.erase(oldest);
    }
    finished_.pop_front();
  }
  Notify(name);
}

void ProgressBoard::Remove(const store::DocumentName& name) {
  MutexLock lock(&mutex_);
  entries_.erase(name);
  Notify(name);
}

std::optional<ProgressBoard::Entry> ProgressBoard::Find(const store::DocumentName& name) const {
  MutexLock lock(&mutex_);
  const auto it = entries_.find(name);
  if (it == entries_.end()) {
    return std::nullopt;
  }
  return it->second;
}

void ProgressBoard::Notify(const store::DocumentName& name) {
  for (const auto& [id, watcher] : watchers_) {
    if (watcher.name == name) {
      watcher.listener();
    }
  }
}

}  // namespace longleaf::service
