// The state's shape, as kernels need it.
#include "kernels/cuda/step.h"

namespace longleaf::kernels::cuda {

StepShape StepShapeOf(const StateShape& shape) {
  StepShape step;
  step.query_heads = static_cast<int32_t>(shape.query_heads);
  step.kv_heads = static_cast<int32_t>(shape.kv_heads);
  step.core_heads = static_cast<int32_t>(shape.core_heads());
  step.head_dim = static_cast<int32_t>(shape.head_dim);
  step.policy = shape.policy;
  step.core = {shape.dtype, shape.layers, shape.core_heads(), shape.head_dim};
  step.raw = {shape.dtype, shape.layers, shape.kv_heads, shape.head_dim};
  return step;
}

}  // namespace longleaf::kernels::cuda
