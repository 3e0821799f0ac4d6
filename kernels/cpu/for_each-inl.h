// A loop over the elements of a row in vectors of the compiled instruction set. Included once for
// each of Highway's targets, inside foreach_target.h files only.
#if defined(LONGLEAF_KERNELS_CPU_FOR_EACH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LONGLEAF_KERNELS_CPU_FOR_EACH_INL_H_
#undef LONGLEAF_KERNELS_CPU_FOR_EACH_INL_H_
#else
#define LONGLEAF_KERNELS_CPU_FOR_EACH_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels::HWY_NAMESPACE {

// Calls body(tag, i) over 0..count-1: full vectors first, then one element at a time, so that
// nothing outside the row is touched.
template <class Body>
HWY_ATTR HWY_INLINE void ForEach(int64_t count, const Body& body) {
  const hwy::HWY_NAMESPACE::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hwy::HWY_NAMESPACE::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(d, i);
  for (; i < count; ++i) body(hwy::HWY_NAMESPACE::CappedTag<float, 1>(), i);
}

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LONGLEAF_KERNELS_CPU_FOR_EACH_INL_H_
