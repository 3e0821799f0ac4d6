// Rows of keys and values between pages and packed memory, on the device.
#ifndef LONGLEAF_KERNELS_CUDA_TRANSFER_KERNELS_H_
#define LONGLEAF_KERNELS_CUDA_TRANSFER_KERNELS_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "kernels/cuda/device_page.h"

namespace longleaf::kernels::cuda {

inline constexpr int64_t kMostRangePages = 32;  // small enough to go as an argument

// Consecutive tokens of one layer in pages.
struct PagedRange {
  DevicePageLayout layout;
  int64_t layer = 0;
  int64_t first_slot = 0;             // of the first token, in pages[0]
  int64_t tokens = 0;                 // first_slot + tokens <= kMostRangePages * kPageTokens
  std::byte* pages[kMostRangePages];  // device
};

// The same tokens one after the other, each array aligned to 16; of scales only i8 has any.
struct PackedRange {
  std::byte* keys = nullptr;          // device: [tokens, heads, d]
  std::byte* values = nullptr;        // device: [tokens, heads, d]
  std::byte* key_scales = nullptr;    // device: [tokens, heads] f32
  std::byte* value_scales = nullptr;  // device: [tokens, heads] f32
};

// Both touch the range's elements and scales and nothing else, a row at the least.
absl::Status PackRange(const PagedRange& from, const PackedRange& to, cudaStream_t stream);
absl::Status UnpackRange(const PackedRange& from, const PagedRange& to, cudaStream_t stream);

}  // namespace longleaf::kernels::cuda

#endif  // LONGLEAF_KERNELS_CUDA_TRANSFER_KERNELS_H_
