// Elements of stored keys and values as f32, for the kernels that compute in f32.
#ifndef LONGLEAF_KERNELS_CUDA_ATTENTION_ELEMENTS_H_
#define LONGLEAF_KERNELS_CUDA_ATTENTION_ELEMENTS_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device_page.h"

namespace longleaf::kernels::cuda {

// The keys, or the values, of one head in one page.
struct HeadTile {
  const std::byte* elements = nullptr;  // [64, d]
  const float* scales = nullptr;        // [64], of i8 alone
};
__device__ inline HeadTile KeysOf(const std::byte* page, const DevicePageLayout& layout,
                                  int64_t layer, int64_t head) {
  HeadTile tile{page + layout.keys(layer, head)};
  if (layout.scaled()) {
    tile.scales = reinterpret_cast<const float*>(page + layout.key_scales(layer, head));
  }
  return tile;
}
__device__ inline HeadTile ValuesOf(const std::byte* page, const DevicePageLayout& layout,
                                    int64_t layer, int64_t head) {
  HeadTile tile{page + layout.values(layer, head)};
  if (layout.scaled()) {
    tile.scales = reinterpret_cast<const float*>(page + layout.value_scales(layer, head));
  }
  return tile;
}

// Elements 2 * pair and 2 * pair + 1 of row `slot`, as ReadRow (kernels/state_rounding.h) reads
// them.
template <DType kType>
__device__ inline float2 ReadPair(const HeadTile& tile, int64_t slot, int64_t head_dim,
                                  int64_t pair) {
  const int64_t at = slot * (head_dim / 2) + pair;
  if constexpr (kType == DType::kF32) {
    return reinterpret_cast<const float2*>(tile.elements)[at];
  } else if constexpr (kType == DType::kBF16) {
    // bf16 is the upper half of an f32.
    const uint32_t both = reinterpret_cast<const uint32_t*>(tile.elements)[at];
    return make_float2(__uint_as_float(both << 16), __uint_as_float(both & 0xffff0000u));
  } else {
    const uint16_t both = reinterpret_cast<const uint16_t*>(tile.elements)[at];
    const float scale = tile.scales[slot];
    return make_float2(__fmul_rn(static_cast<float>(static_cast<int8_t>(both & 0xff)), scale),
                       __fmul_rn(static_cast<float>(static_cast<int8_t>(both >> 8)), scale));
  }
}

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_ATTENTION_ELEMENTS_H_
