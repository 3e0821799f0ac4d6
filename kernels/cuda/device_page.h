// The layout of one page of attention state in device memory.
//
// A page holds kPageTokens consecutive core tokens or raw tokens of ALL layers, so that a state
// needs one table of pages for each part and a step sends it to the device once. Within a layer
// everything is row-major and contiguous per head: a tile of keys or values is one contiguous
// block, read by 16-byte copies and by the tensor copy engine alike.
//
//   per layer   keys   [heads, 64, d]
//               values [heads, 64, d]
//               key scales   [heads, 64] f32, of i8 alone: a key is its elements * its scale
//               value scales [heads, 64] f32, likewise
//
// Where a slot holds no token, or none any more, its elements and scales may be anything. How a row
// is rounded: kernels/state_rounding.h.
#ifndef LONGLEAF_KERNELS_CUDA_DEVICE_PAGE_H_
#define LONGLEAF_KERNELS_CUDA_DEVICE_PAGE_H_

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"

namespace longleaf::kernels::cuda {

inline constexpr int64_t kPageTokens = 64;

// Where the parts of a page lie, in bytes from its beginning. Requires f32, bf16 or i8, and a
// head_dim that is a multiple of 2; all offsets are multiples of 128 when it is one of 16. Usable
// in kernels.
struct DevicePageLayout {
  DType dtype = DType::kF32;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;  // d

  constexpr int64_t bytes() const { return layers * layer_bytes(); }
  constexpr int64_t layer_bytes() const {
    return 2 * heads * (head_bytes() + (scaled() ? kScales : 0));
  }
  // Bytes of the keys, or values, of one head: [64, d].
  constexpr int64_t head_bytes() const { return kPageTokens * row_bytes(); }
  // Bytes of one key or value, its scale apart.
  constexpr int64_t row_bytes() const { return head_dim * element_bytes(); }
  constexpr int64_t element_bytes() const {
    return dtype == DType::kI8 ? 1 : dtype == DType::kBF16 ? 2 : 4;
  }
  constexpr int64_t keys(int64_t layer, int64_t head) const {
    return layer * layer_bytes() + head * head_bytes();
  }
  constexpr int64_t values(int64_t layer, int64_t head) const {
    return keys(layer, heads) + head * head_bytes();
  }
  // Of i8 alone.
  constexpr int64_t key_scales(int64_t layer, int64_t head) const {
    return values(layer, heads) + head * kScales;
  }
  constexpr int64_t value_scales(int64_t layer, int64_t head) const {
    return key_scales(layer, heads) + head * kScales;
  }
  constexpr bool scaled() const { return dtype == DType::kI8; }

 private:
  static constexpr int64_t kScales = kPageTokens * 4;  // bytes of one head's
};

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_DEVICE_PAGE_H_
