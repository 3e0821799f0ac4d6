// Pooling of one group of tokens into a core token (arXiv 2412.12465, equation 2), for one core
// head.
#ifndef LONGLEAF_KERNELS_CPU_POOL_GROUP_H_
#define LONGLEAF_KERNELS_CPU_POOL_GROUP_H_

#include <cstdint>

namespace longleaf::kernels {

struct GroupPooling {
  const float* keys = nullptr;    // [tokens, d], as the state holds them
  const float* values = nullptr;  // [tokens, d]
  int64_t tokens = 0;             // in the group
  int64_t head_dim = 0;           // d
  const float* query = nullptr;   // [d], rotated: the group's last token
  float* weights = nullptr;       // [tokens], scratch
  float* core_key = nullptr;      // [d]
  float* core_value = nullptr;    // [d]
};

// weights = softmax(query . key / sqrt(d)) over the group; core = weighted sum of keys and values.
void PoolGroup(const GroupPooling& pooling);

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_CPU_POOL_GROUP_H_
