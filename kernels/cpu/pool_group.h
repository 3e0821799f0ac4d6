// Pooling of one group of tokens into a core token (arXiv 2412.12465, equation 2), for one core
// head, over raw pages.
#ifndef LONGLEAF_KERNELS_CPU_POOL_GROUP_H_
#define LONGLEAF_KERNELS_CPU_POOL_GROUP_H_

#include <cstdint>

#include "absl/types/span.h"

namespace longleaf::kernels {

// The part of a group that lies in one raw page.
struct GroupSpan {
  const float* keys = nullptr;    // [d, kPageTokens], from the span's first token on
  const float* values = nullptr;  // [count, d]
  int64_t count = 0;
};

struct GroupPooling {
  absl::Span<const GroupSpan> spans;
  const float* query = nullptr;  // [d], rotated: the group's last token
  int64_t head_dim = 0;          // d
  float* weights = nullptr;      // [tokens in the group], scratch
  float* core_key = nullptr;     // [d] with stride kPageTokens
  float* core_value = nullptr;   // [d]
};

// weights = softmax(query . key / sqrt(d)) over the group; core = weighted sum of keys and values.
void PoolGroup(const GroupPooling& pooling);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_POOL_GROUP_H_
