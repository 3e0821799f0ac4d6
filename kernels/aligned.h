// Memory on a cache line boundary, whose allocation can fail without an exception.
#ifndef LONGLEAF_KERNELS_ALIGNED_H_
#define LONGLEAF_KERNELS_ALIGNED_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

namespace longleaf::kernels {

struct FreeAligned {
  void operator()(void* p) const { std::free(p); }
};
using AlignedFloats = std::unique_ptr<float[], FreeAligned>;
using AlignedBytes = std::unique_ptr<std::byte[], FreeAligned>;

// `count` bytes, not initialised, 64-byte aligned; null when there is no memory or `count` is
// negative. Zero bytes give a non-null block.
inline AlignedBytes AllocateBytes(int64_t count) {
  constexpr int64_t kLine = 64;
  if (count < 0 || count > std::numeric_limits<int64_t>::max() / 2) return nullptr;
  return AlignedBytes(static_cast<std::byte*>(
      std::aligned_alloc(size_t{kLine}, static_cast<size_t>((count + kLine) / kLine * kLine))));
}

// `count` floats, not initialised, 64-byte aligned; null when there is no memory or `count` is
// negative. Zero floats give a non-null block.
inline AlignedFloats AllocateFloats(int64_t count) {
  if (count < 0 || count > std::numeric_limits<int64_t>::max() / 8) return nullptr;
  return AlignedFloats(
      reinterpret_cast<float*>(AllocateBytes(count * int64_t{sizeof(float)}).release()));
}

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_ALIGNED_H_
