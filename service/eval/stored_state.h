// A state to the store and back, the way the server does it: the model's codec over the store's
// segments.
#ifndef LONGLEAF_SERVICE_EVAL_STORED_STATE_H_
#define LONGLEAF_SERVICE_EVAL_STORED_STATE_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cache_store/store.h"
#include "kernels/backend.h"
#include "service/eval/session.h"

namespace longleaf::service::eval {

// Makes `state`, which has read exactly `tokens`, durable.
absl::StatusOr<store::SnapshotPtr> SaveState(store::Store& store, Session& session,
                                             const kernels::State& state,
                                             absl::Span<const int32_t> tokens);

// Finds the state of `tokens` under `policy` and loads it, every byte verified. NOT_FOUND,
// DATA_LOSS.
absl::StatusOr<std::unique_ptr<kernels::State>> RestoreState(store::Store& store, Session& session,
                                                             const kernels::AttentionPolicy& policy,
                                                             absl::Span<const int32_t> tokens);

}  // namespace longleaf::service::eval

#endif  // LONGLEAF_SERVICE_EVAL_STORED_STATE_H_
