// A state to the store's segments and back: the model's codec over cache_store.
#ifndef LONGLEAF_SERVICE_STATE_STORED_STATE_H_
#define LONGLEAF_SERVICE_STATE_STORED_STATE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cache_store/store.h"
#include "kernels/backend.h"
#include "model/state_codec.h"

namespace longleaf::service {

// Writes the segments of `layout` that `commit` does not list yet (it may bring the first ones,
// from an earlier snapshot of the same tokens) and the tail, then commits. `state` must have read
// layout.tokens() tokens; it is only read, see Backend on threads. Errors are the store's.
absl::StatusOr<store::SnapshotPtr> WriteState(store::Store& store, kernels::Backend& backend,
                                              const kernels::State& state,
                                              const model::SnapshotLayout& layout,
                                              store::CommitSpec commit);

// Reads all segments of `snapshot` into `state`, which PrepareRestore has made ready for `layout`,
// by `readers` threads, this one among them; every byte is verified. Errors are StateRestore's.
absl::Status ReadState(store::Store& store, kernels::Backend& backend, store::SnapshotPtr snapshot,
                       const model::SnapshotLayout& layout, int readers, kernels::State& state);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_STATE_STORED_STATE_H_
