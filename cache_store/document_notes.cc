#include "cache_store/document_notes.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace longleaf::store::internal {
namespace {

constexpr std::chrono::milliseconds kInterval(1000);

}  // namespace

void DocumentNotes::Asked(const DocumentName& name, int64_t time_us) {
  MutexLock lock(&mutex_);
  Note& note = notes_[name];
  note.asked_us = std::max(note.asked_us, time_us);
}

void DocumentNotes::Read(const DocumentName& name, int64_t serial, int64_t tokens) {
  MutexLock lock(&mutex_);
  Note& note = notes_[name];
  note.read_tokens = note.serial == serial ? std::max(note.read_tokens, tokens) : tokens;
  note.serial = serial;
}

bool DocumentNotes::ApplyNote(const Note& note, DocumentRecord& record) {
  bool changed = false;
  if (note.asked_us > record.last_asked_time_us) {
    record.last_asked_time_us = note.asked_us;
    changed = true;
  }
  if (note.serial == record.serial && note.read_tokens > record.read_tokens) {
    record.read_tokens = note.read_tokens;
    changed = true;
  }
  return changed;
}

bool DocumentNotes::Apply(const DocumentName& name, DocumentRecord& record) const {
  MutexLock lock(&mutex_);
  const auto found = notes_.find(name);
  return found != notes_.end() && ApplyNote(found->second, record);
}

void DocumentNotes::Done(const DocumentName& name, const DocumentRecord& written) {
  MutexLock lock(&mutex_);
  const auto found = notes_.find(name);
  if (found == notes_.end()) return;
  DocumentRecord record = written;
  if (!ApplyNote(found->second, record)) notes_.erase(found);
}

void DocumentNotes::Forget(const DocumentName& name) {
  MutexLock lock(&mutex_);
  notes_.erase(name);
}

void DocumentNotes::Start(std::function<void(const DocumentName&)> write) {
  write_ = std::move(write);
  thread_ = std::thread([this] { Loop(); });
}

void DocumentNotes::Stop() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void DocumentNotes::Loop() {
  for (;;) {
    {
      MutexLock lock(&mutex_);
      if (!stopping_) changed_.WaitFor(&mutex_, kInterval);
      if (stopping_) break;
    }
    WriteAll();
  }
  WriteAll();
}

void DocumentNotes::WriteAll() {
  std::vector<DocumentName> names;
  {
    MutexLock lock(&mutex_);
    names.reserve(notes_.size());
    for (const auto& [name, note] : notes_) names.push_back(name);
  }
  for (const DocumentName& name : names) write_(name);
}

}  // namespace longleaf::store::internal
