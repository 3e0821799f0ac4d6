#include "service/state_cache.h"

#include <algorithm>
#include <utility>

namespace longleaf::service {

// Seconds for each byte, above what has gone meanwhile.
double StateCache::Entry::worth() const {
  return floor + document->reload_seconds / static_cast<double>(std::max<int64_t>(1, bytes));
}

void StateCache::Use(Entry& entry) {
  entry.floor = level_;
  entry.last_used = ++uses_;
}

std::shared_ptr<LiveDocument> StateCache::Find(const store::DocumentName& name) {
  const auto it = documents_.find(name);
  if (it == documents_.end()) {
    return nullptr;
  }
  Use(it->second);
  return it->second.document;
}

void StateCache::Insert(std::shared_ptr<LiveDocument> document) {
  const store::DocumentName name = document->name;
  Erase(name);
  Entry& entry = documents_[name];
  entry.bytes = document->state->bytes();
  entry.document = std::move(document);
  bytes_ += entry.bytes;
  Use(entry);
}

void StateCache::Erase(const store::DocumentName& name) {
  const auto it = documents_.find(name);
  if (it != documents_.end()) {
    bytes_ -= it->second.bytes;
    documents_.erase(it);
  }
}

bool StateCache::EvictOne() {
  auto victim = documents_.end();
  for (auto it = documents_.begin(); it != documents_.end(); ++it) {
    if (it->second.document.use_count() > 1) {
      continue;
    }
    if (victim == documents_.end() ||
        std::pair(it->second.worth(), it->second.last_used) <
            std::pair(victim->second.worth(), victim->second.last_used)) {
      victim = it;
    }
  }
  if (victim == documents_.end()) {
    return false;
  }
  level_ = std::max(level_, victim->second.worth());
  bytes_ -= victim->second.bytes;
  documents_.erase(victim);
  return true;
}

}  // namespace longleaf::service
