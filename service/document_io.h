// The engine's work with the disk: what a document needs before its state can be used, and making
// states durable. Blocking; runs on the io executor.
#ifndef LONGLEAF_SERVICE_DOCUMENT_IO_H_
#define LONGLEAF_SERVICE_DOCUMENT_IO_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cache_store/store.h"
#include "kernels/backend.h"
#include "service/executor.h"
#include "service/metrics.h"
#include "service/served_model.h"
#include "service/state/state_restore.h"

namespace longleaf::service {

using TokenEnds = std::shared_ptr<const std::vector<int64_t>>;  // [document tokens] byte offsets

struct LoadedDocument {
  store::DocumentRecord record;
  std::vector<int32_t> tokens;  // BOS, preamble, document
  TokenEnds token_ends;
  store::SnapshotPtr snapshot;  // of the longest prefix that has one; null: none
};

// The document's tokens and its best snapshot. Text that was tokenised for another tokenizer, or
// whose tokens are damaged, is tokenised again. NOT_FOUND, DATA_LOSS when the text is damaged,
// INVALID_ARGUMENT when it is too long for this model.
absl::StatusOr<LoadedDocument> LoadDocument(store::Store& store, const ServedModel& model,
                                            const store::DocumentName& name);

// Writes what became of a document's reading into its record. NOT_FOUND when the document is gone,
// also when another one has its name by now: `serial` is what LoadDocument found, 0 when it found
// nothing.
absl::Status RecordState(store::Store& store, const store::DocumentName& name, int64_t serial,
                         store::DocumentState state, const absl::Status& failure);

// The longest stored prefix again, after one was dropped. Null when there is none.
store::SnapshotPtr FindSnapshot(store::Store& store, const ServedModel& model,
                                const std::string& tenant, const std::vector<int32_t>& tokens);

using StateRestorePtr = std::shared_ptr<StateRestore>;

// Makes `state`, empty, ready to take in `snapshot`. The only part of restoring that belongs to the
// backend's thread. `state` must live until RestoreState has returned. INVALID_ARGUMENT when the
// snapshot does not fit this model; RESOURCE_EXHAUSTED.
absl::StatusOr<StateRestorePtr> PrepareRestore(store::Store& store, ServedModel& model,
                                               store::SnapshotPtr snapshot, kernels::State& state);

// Reads `snapshot` on this thread, and on at most `helpers` threads of `executor` that are free to
// help: it waits for none that has not begun, and one that comes late finds nothing to do.
// `restore` is what PrepareRestore gave. A snapshot that turns out damaged or unreadable is dropped
// from the store and counted; the error says so. CANCELLED after StateRestore::Cancel.
absl::Status RestoreState(store::Store& store, Metrics& metrics, const store::Snapshot& snapshot,
                          const absl::StatusOr<StateRestorePtr>& restore, Executor& executor,
                          int helpers);

struct SaveRequest {
  store::DocumentName document;
  std::vector<int32_t> tokens;  // [state.tokens()]
  const kernels::State* state = nullptr;
  store::SnapshotPtr base;    // an earlier snapshot of the same tokens, whose segments are reused
  bool replace_base = false;  // base is this document's own checkpoint: let it go
};
// Makes a state durable. RESOURCE_EXHAUSTED when the disk or its cap is full.
absl::StatusOr<store::SnapshotPtr> SaveState(store::Store& store, ServedModel& model,
                                             Metrics& metrics, const SaveRequest& request);

}  // namespace longleaf::service

#endif  // LONGLEAF_SERVICE_DOCUMENT_IO_H_
