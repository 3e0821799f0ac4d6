// The document states that are in memory, ready to be branched.
#ifndef LONGLEAF_SERVICE_STATE_CACHE_H_
#define LONGLEAF_SERVICE_STATE_CACHE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "cache_store/store.h"
#include "kernels/backend.h"
#include "service/answer_stream.h"
#include "service/document_io.h"

namespace longleaf::service {

// A document that has been read whole. Immutable but for its use.
struct LiveDocument {
  store::DocumentName name;
  std::unique_ptr<kernels::State> state;
  TokenEnds token_ends;
  // How it came to be here, for the questions that waited for it.
  StateTier tier = StateTier::kPrefill;
  int64_t tokens_reused = 0;     // BOS, preamble and document tokens from a stored state
  int64_t tokens_prefilled = 0;  // read by the model
  double seconds = 0;
  // What it would take to have it back, should memory let go of it: loading from the disk, or
  // reading it again while no disk has it. Kept up to date by the engine.
  double reload_seconds = 0;
};

// Belongs to the engine's thread.
//
// Holders of a shared_ptr keep a document alive beyond its eviction; the cache evicts only those
// that nobody else holds. Who goes first is decided by least recent use weighed with what a reload
// costs for each byte that is freed (GreedyDual-Size: Cao and Irani, USITS 1997): documents that
// cost alike go in order of use, and one that would have to be read again by the model stays longer
// than one that the disk has.
class StateCache {
 public:
  // A use of the document; null when it is not here.
  std::shared_ptr<LiveDocument> Find(const store::DocumentName& name);
  bool Holds(const store::DocumentName& name) const { return documents_.contains(name); }
  void Insert(std::shared_ptr<LiveDocument> document);
  void Erase(const store::DocumentName& name);
  // Lets go of the document that is missed least, of those that nobody uses; false when there is
  // none.
  bool EvictOne();
  // Memory of all states held, pages shared between two counted twice.
  int64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::shared_ptr<LiveDocument> document;
    int64_t bytes = 0;
    double floor = 0;  // level_ when it was used last
    int64_t last_used = 0;

    double worth() const;
  };
  void Use(Entry& entry);

  std::map<store::DocumentName, Entry> documents_;
  int64_t bytes_ = 0;
  double level_ = 0;  // worth of the last one that went: what has not been used since sinks below
  int64_t uses_ = 0;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_STATE_CACHE_H_
