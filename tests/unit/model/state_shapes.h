// Shapes of states that the tests of layouts and of bytes share.
#ifndef LONGLEAF_TESTS_UNIT_MODEL_STATE_SHAPES_H_
#define LONGLEAF_TESTS_UNIT_MODEL_STATE_SHAPES_H_

#include <vector>

#include "kernels/backend.h"

namespace longleaf::model {

using kernels::AttentionPolicy;
using kernels::CoreHeads;
using kernels::DType;
using kernels::StateShape;

inline const std::vector<AttentionPolicy> kPolicies = {
    AttentionPolicy::Full(),
    AttentionPolicy::Cca(4, 8, CoreHeads::kQuery),
    AttentionPolicy::Cca(5, 20, CoreHeads::kKeyValue),
    AttentionPolicy::Streaming(4, 16),
    AttentionPolicy::Streaming(0, 3),
};

inline constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kI8};

inline StateShape ShapeOf(const AttentionPolicy& policy, DType dtype = DType::kF32) {
  return {2, 4, 2, 6, policy, dtype};
}

}  // namespace longleaf::model

#endif  // LONGLEAF_TESTS_UNIT_MODEL_STATE_SHAPES_H_
