// A step as kernels see it: plain structs that BeginStep fills and sends to the device once, for
// all layers.
#ifndef LONGLEAF_KERNELS_CUDA_STEP_H_
#define LONGLEAF_KERNELS_CUDA_STEP_H_

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cuda/device_page.h"

namespace longleaf::kernels::cuda {

// One member of a ragged batch. The tables are indexed by page, kPageTokens tokens each, from the
// state's beginning; entries of pages that were let go are not there to be read. Those that this
// step adds are, and a page that the step has to copy before it writes is the copy.
struct StepItem {
  int64_t first_token = 0;                 // of its first row: state.tokens() before the step
  int32_t first_row = 0;                   // of the batch
  int32_t rows = 0;                        // >= 1
  std::byte* const* core_pages = nullptr;  // device: [pages], device pointers
  std::byte* const* raw_pages = nullptr;   // device: [pages], device pointers
};

// What every kernel over a step gets, by value.
struct StepView {
  const StepItem* items = nullptr;     // device: [item_count]
  const int32_t* row_items = nullptr;  // device: [rows], the item of each row
  int32_t item_count = 0;
  int32_t rows = 0;  // R
};

// The state's shape, as kernels need it.
struct StepShape {
  int32_t query_heads = 0;
  int32_t kv_heads = 0;
  int32_t core_heads = 0;
  int32_t head_dim = 0;
  AttentionPolicy policy;
  DevicePageLayout core;  // heads = core_heads
  DevicePageLayout raw;   // heads = kv_heads

  constexpr int64_t qkv_cols() const { return int64_t{query_heads + 2 * kv_heads} * head_dim; }
};
StepShape StepShapeOf(const StateShape& shape);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_STEP_H_
