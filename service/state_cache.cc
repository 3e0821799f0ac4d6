#include "service/state_cache.h"

#include <utility>

namespace longleaf::service {

std::shared_ptr<LiveDocument> StateCache::Find(const store::DocumentName& name) {
  const auto it = documents_.find(name);
  if (it == documents_.end()) {
    return nullptr;
  }
  it->second.last_used = ++uses_;
  return it->second.document;
}

void StateCache::Insert(std::shared_ptr<LiveDocument> document) {
  const store::DocumentName name = document->name;
  documents_[name] = {std::move(document), ++uses_};
}

void StateCache::Erase(const store::DocumentName& name) { documents_.erase(name); }

bool StateCache::EvictOne() {
  auto victim = documents_.end();
  for (auto it = documents_.begin(); it != documents_.end(); ++it) {
    if (it->second.document.use_count() == 1 &&
        (victim == documents_.end() || it->second.last_used < victim->second.last_used)) {
      victim = it;
    }
  }
  if (victim == documents_.end()) {
    return false;
  }
  documents_.erase(victim);
  return true;
}

int64_t StateCache::bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, entry] : documents_) {
    bytes += entry.document->state->bytes();
  }
  return bytes;
}

}  // namespace longleaf::service
