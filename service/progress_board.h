// Where everybody can see how far the model has read each document that it is reading.
#ifndef LONGLEAF_SERVICE_PROGRESS_BOARD_H_
#define LONGLEAF_SERVICE_PROGRESS_BOARD_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "cache_store/record.h"
#include "cache_store/store.h"
#include "kernels/mutex.h"

namespace longleaf::service {

struct Progress {
  int64_t tokens_total = 0;
  int64_t tokens_done = 0;    // reused ones included
  int64_t tokens_reused = 0;  // taken from a stored state
  double eta_seconds = -1;    // < 0: unknown
};

// Thread-safe. The engine posts; calls that watch subscribe. A listener runs on the poster's thread
// and must only make a note (it may not call the board).
class ProgressBoard {
 public:
  struct Entry {
    store::DocumentState state = store::DocumentState::kQueued;
    Progress progress;
    // Of the document that this is about, as ids are used again; 0: its record is not yet loaded.
    int64_t serial = 0;
  };
  using Listener = std::function<void()>;

  // Removes its listener when it goes; after that the listener does not run any more.
  class Subscription {
   public:
    Subscription(ProgressBoard* board, int64_t id) : board_(board), id_(id) {}
    ~Subscription() { board_->Unsubscribe(id_); }
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

   private:
    ProgressBoard* const board_;
    const int64_t id_;
  };

  // The listener runs whenever the document's entry changes or goes. The board must outlive it.
  std::unique_ptr<Subscription> Subscribe(const store::DocumentName& name, Listener listener);

  void Post(const store::DocumentName& name, const Entry& entry);
  // The document has been read: its last entry is kept for a while (the latest 1024 of all), for
  // the counts that its record does not have.
  void PostLast(const store::DocumentName& name, const Entry& entry);
  // Nothing is known of it any more.
  void Remove(const store::DocumentName& name);
  std::optional<Entry> Find(const store::DocumentName& name) const;

 private:
  struct Watcher {
    store::DocumentName name;
    Listener listener;
  };
  void Unsubscribe(int64_t id);
  void Notify(const store::DocumentName& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<store::DocumentName, Entry> entries_ ABSL_GUARDED_BY(mutex_);
  std::deque<store::DocumentName> finished_ ABSL_GUARDED_BY(mutex_);  // oldest first
  std::map<int64_t, Watcher> watchers_ ABSL_GUARDED_BY(mutex_);
  int64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_PROGRESS_BOARD_H_
