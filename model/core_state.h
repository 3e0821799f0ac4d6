// The arithmetic of core states: what a document costs, known before it is read.
#ifndef LONGLEAF_MODEL_CORE_STATE_H_
#define LONGLEAF_MODEL_CORE_STATE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace longleaf::model {

// First raw token (0-based) of the tail that a state of `tokens` tokens needs: what the query of
// its last token saw. Under cca that leaves window .. window+group-1 tokens.
int64_t TailBegin(const kernels::AttentionPolicy& policy, int64_t tokens);

// Bytes of the state after `tokens` tokens, all layers:
//   layers * 2 * (cores * core_heads + tail * kv_heads) * row_bytes.
// The first saturate at INT64_MAX; the checked one gives INVALID_ARGUMENT instead.
int64_t StateBytes(const kernels::StateShape& shape, int64_t tokens);
absl::StatusOr<int64_t> CheckedStateBytes(const kernels::StateShape& shape, int64_t tokens);
// The same for the cache of all keys and values that full attention keeps, in the same type.
int64_t FullCacheBytes(const kernels::StateShape& shape, int64_t tokens);

}  // namespace longleaf::model

#endif  // LONGLEAF_MODEL_CORE_STATE_H_
