#include "model/core_state.h"

#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace longleaf::model {
namespace {

// Bytes, or -1 when they do not fit.
int64_t BytesOrOverflow(const kernels::StateShape& shape, int64_t cores, int64_t raw) {
  int64_t core_rows = 0;
  int64_t raw_rows = 0;
  int64_t bytes = 0;
  if (__builtin_mul_overflow(cores, shape.core_heads(), &core_rows) ||
      __builtin_mul_overflow(raw, shape.kv_heads, &raw_rows) ||
      __builtin_add_overflow(core_rows, raw_rows, &bytes)) {
    return -1;
  }
  for (const int64_t factor : {int64_t{2}, shape.layers, shape.row_bytes()}) {
    if (__builtin_mul_overflow(bytes, factor, &bytes)) return -1;
  }
  return bytes;
}

int64_t Saturated(int64_t bytes) { return bytes < 0 ? std::numeric_limits<int64_t>::max() : bytes; }

int64_t StateBytesOrOverflow(const kernels::StateShape& shape, int64_t tokens) {
  return BytesOrOverflow(shape, shape.policy.CoresAfter(tokens),
                         tokens - TailBegin(shape.policy, tokens));
}

}  // namespace

int64_t TailBegin(const kernels::AttentionPolicy& policy, int64_t tokens) {
  return policy.FirstRaw(tokens);
}

int64_t StateBytes(const kernels::StateShape& shape, int64_t tokens) {
  return Saturated(StateBytesOrOverflow(shape, tokens));
}

absl::StatusOr<int64_t> CheckedStateBytes(const kernels::StateShape& shape, int64_t tokens) {
  const int64_t bytes = tokens < 0 ? -1 : StateBytesOrOverflow(shape, tokens);
  if (bytes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a state of ", tokens, " tokens is beyond what can be addressed"));
  }
  return bytes;
}

int64_t FullCacheBytes(const kernels::StateShape& shape, int64_t tokens) {
  return Saturated(BytesOrOverflow(shape, 0, tokens));
}

}  // namespace longleaf::model
