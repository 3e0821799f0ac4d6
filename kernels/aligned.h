// A block of floats on a cache line boundary, whose allocation can fail without an exception.
#ifndef LONGLEAF_KERNELS_ALIGNED_H_
#define LONGLEAF_KERNELS_ALIGNED_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

namespace longleaf::kernels {

struct FreeAligned {
  void operator()(float* p) const { std::free(p); }
};
using AlignedFloats = std::unique_ptr<float[], FreeAligned>;

// `count` floats, not initialised, 64-byte aligned; null when there is no memory or `count` is
// negative. Zero floats give a non-null block.
inline AlignedFloats AllocateFloats(int64_t count) {
  constexpr int64_t kLine = 64;
  if (count < 0 || count > std::numeric_limits<int64_t>::max() / 8) return nullptr;
  const int64_t bytes = (count * int64_t{sizeof(float)} + kLine) / kLine * kLine;
  return AlignedFloats(
      static_cast<float*>(std::aligned_alloc(size_t{kLine}, static_cast<size_t>(bytes))));
}

}  // namespace longleaf::kernels

#endif  // LONGLEAF_KERNELS_ALIGNED_H_
