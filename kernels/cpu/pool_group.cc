// Group pooling in Highway.
#include "kernels/cpu/pool_group.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pool_group.cc"
#include "hwy/foreach_target.h"

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/cpu/for_each-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

HWY_ATTR HWY_INLINE float Dot(const float* a, const float* b, int64_t count) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    sum = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum);
  }
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < count; ++i) total += a[i] * b[i];
  return total;
}

HWY_ATTR void Softmax(float scale, int64_t count, float* x) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, x[i]);
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR {
    const auto shifted = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, largest));
    hn::StoreU(hn::Exp(d, hn::Mul(shifted, hn::Set(d, scale))), d, x + i);
  });
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i];
  for (int64_t i = 0; i < count; ++i) x[i] /= sum;
}

// sum[count] = the rows of x[rows, count], weighted.
HWY_ATTR void WeightedSum(const float* weights, const float* x, int64_t rows, int64_t count,
                          float* sum) {
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR {
    auto total = hn::Zero(d);
    for (int64_t r = 0; r < rows; ++r) {
      total = hn::MulAdd(hn::Set(d, weights[r]), hn::LoadU(d, x + r * count + i), total);
    }
    hn::StoreU(total, d, sum + i);
  });
}

HWY_ATTR void Pool(const GroupPooling& p) {
  const int64_t d = p.head_dim;
  for (int64_t t = 0; t < p.tokens; ++t) p.weights[t] = Dot(p.query, p.keys + t * d, d);
  Softmax(1.0f / std::sqrt(static_cast<float>(d)), p.tokens, p.weights);
  WeightedSum(p.weights, p.keys, p.tokens, d, p.core_key);
  WeightedSum(p.weights, p.values, p.tokens, d, p.core_value);
}

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(Pool);

void PoolGroup(const GroupPooling& pooling) { HWY_DYNAMIC_DISPATCH(Pool)(pooling); }

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
