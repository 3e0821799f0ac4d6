// Group pooling in Highway.
#include "kernels/cpu/pool_group.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/page.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pool_group.cc"
#include "hwy/foreach_target.h"

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/cpu/for_each-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// y += a * x, [count]
HWY_ATTR HWY_INLINE void AddScaled(float a, const float* x, int64_t count, float* y) {
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR {
    hn::StoreU(hn::MulAdd(hn::Set(d, a), hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, y + i);
  });
}

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

HWY_ATTR void Pool(const GroupPooling& p) {
  const int64_t d = p.head_dim;
  int64_t tokens = 0;
  for (const GroupSpan& span : p.spans) {
    float* scores = p.weights + tokens;
    std::fill_n(scores, span.count, 0.0f);
    for (int64_t k = 0; k < d; ++k) {
      AddScaled(p.query[k], span.keys + k * kPageTokens, span.count, scores);
    }
    tokens += span.count;
  }
  Softmax(1.0f / std::sqrt(static_cast<float>(d)), tokens, p.weights);
  for (int64_t k = 0; k < d; ++k) {
    p.core_key[k * kPageTokens] = 0;
    p.core_value[k] = 0;
  }
  const float* weights = p.weights;
  for (const GroupSpan& span : p.spans) {
    for (int64_t k = 0; k < d; ++k) {
      p.core_key[k * kPageTokens] += Dot(weights, span.keys + k * kPageTokens, span.count);
    }
    for (int64_t t = 0; t < span.count; ++t) {
      AddScaled(weights[t], span.values + t * d, d, p.core_value);
    }
    weights += span.count;
  }
}

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(Pool);

void PoolGroup(const GroupPooling& pooling) { HWY_DYNAMIC_DISPATCH(Pool)(pooling); }

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
