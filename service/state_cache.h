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
};

// Belongs to the engine's thread.
//
// Holders of a shared_ptr keep a document alive beyond its eviction; the cache evicts only those
// that nobody else holds, the least recently used first.
class StateCache {
 public:
  std::shared_ptr<LiveDocument> Find(const store::DocumentName& name);
  void Insert(std::shared_ptr<LiveDocument> document);
  void Erase(const store::DocumentName& name);
  // Lets go of the least recently used document that nobody uses; false when there is none.
  bool EvictOne();
  // Memory of all states held, pages shared between two counted twice.
  int64_t bytes() const;

 private:
  struct Entry {
    std::shared_ptr<LiveDocument> document;
    int64_t last_used = 0;
  };
  std::map<store::DocumentName, Entry> documents_;
  int64_t uses_ = 0;
};

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_STATE_CACHE_H_
