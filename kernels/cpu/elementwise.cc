// Element-wise row operations.
#include "kernels/cpu/elementwise.h"

#include <cmath>
#include <cstring>

#include "kernels/float_types.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cc"
#include "hwy/foreach_target.h"

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/cpu/for_each-inl.h"

HWY_BEFORE_NAMESPACE();
namespace longleaf::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Wide = hn::ScalableTag<float>;

HWY_ATTR void ConvertBF16(const void* from, int64_t count, float* to) {
  const char* bytes = static_cast<const char*>(from);
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR {
    const hn::Rebind<uint16_t, decltype(d)> d16;
    const hn::Rebind<uint32_t, decltype(d)> d32;
    uint16_t bits[HWY_MAX_BYTES / 4];
    std::memcpy(bits, bytes + i * 2, hn::Lanes(d) * 2);  // the source may be unaligned
    const auto wide = hn::ShiftLeft<16>(hn::PromoteTo(d32, hn::LoadU(d16, bits)));
    hn::StoreU(hn::BitCast(d, wide), d, to + i);
  });
}

HWY_ATTR void ConvertF16(const void* from, int64_t count, float* to) {
  const char* bytes = static_cast<const char*>(from);
  const Wide d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const hn::Rebind<hwy::float16_t, Wide> d16;
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hwy::float16_t halves[HWY_MAX_BYTES / 4];
    std::memcpy(static_cast<void*>(halves), bytes + i * 2, static_cast<size_t>(lanes) * 2);
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(d16, halves)), d, to + i);
  }
  for (; i < count; ++i) to[i] = LoadElement(from, DType::kF16, i);
}

HWY_ATTR float SumOfProducts(const float* a, const float* b, int64_t count) {
  const Wide d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
    sum1 = hn::MulAdd(hn::LoadU(d, a + i + lanes), hn::LoadU(d, b + i + lanes), sum1);
    sum2 = hn::MulAdd(hn::LoadU(d, a + i + 2 * lanes), hn::LoadU(d, b + i + 2 * lanes), sum2);
    sum3 = hn::MulAdd(hn::LoadU(d, a + i + 3 * lanes), hn::LoadU(d, b + i + 3 * lanes), sum3);
  }
  for (; i + lanes <= count; i += lanes) {
    sum0 = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sum0);
  }
  const auto sum = hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3));
  float total = hn::GetLane(hn::SumOfLanes(d, sum));
  for (; i < count; ++i) total += a[i] * b[i];
  return total;
}

HWY_ATTR void Norm(const float* x, const float* weight, float epsilon, int64_t count, float* out) {
  const float mean = SumOfProducts(x, x, count) / static_cast<float>(count);
  const float scale = 1.0f / std::sqrt(mean + epsilon);
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR {
    const auto scaled = hn::Mul(hn::LoadU(d, x + i), hn::Set(d, scale));
    hn::StoreU(hn::Mul(scaled, hn::LoadU(d, weight + i)), d, out + i);
  });
}

HWY_ATTR void Silu(float* gate, const float* up, int64_t count) {
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR {
    const auto g = hn::LoadU(d, gate + i);
    // Beyond 88 the result is 0 to f32 anyway, and exp would overflow.
    const auto e = hn::Exp(d, hn::Min(hn::Neg(g), hn::Set(d, 88.0f)));
    const auto silu = hn::Div(g, hn::Add(hn::Set(d, 1.0f), e));
    hn::StoreU(hn::Mul(silu, hn::LoadU(d, up + i)), d, gate + i);
  });
}

HWY_ATTR void Rotate(float* x, const float* cosine, const float* sine, int64_t half) {
  ForEach(half, [&](auto d, int64_t i) HWY_ATTR {
    const auto c = hn::LoadU(d, cosine + i), s = hn::LoadU(d, sine + i);
    const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + half + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, x + half + i);
  });
}

HWY_ATTR int64_t Target() { return HWY_TARGET; }

}  // namespace longleaf::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace longleaf::kernels {

HWY_EXPORT(ConvertBF16);
HWY_EXPORT(ConvertF16);
HWY_EXPORT(Norm);
HWY_EXPORT(Silu);
HWY_EXPORT(Rotate);
HWY_EXPORT(Target);

const char* InstructionSet() { return hwy::TargetName(HWY_DYNAMIC_DISPATCH(Target)()); }

void ToFloat(const void* from, DType type, int64_t count, float* to) {
  if (count <= 0) return;
  if (type == DType::kBF16) {
    HWY_DYNAMIC_DISPATCH(ConvertBF16)(from, count, to);
  } else if (type == DType::kF16) {
    HWY_DYNAMIC_DISPATCH(ConvertF16)(from, count, to);
  } else {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
  }
}

void NormRow(const float* x, const float* weight, float epsilon, int64_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(Norm)(x, weight, epsilon, count, out);
}

void SiluGate(float* gate, const float* up, int64_t count) {
  HWY_DYNAMIC_DISPATCH(Silu)(gate, up, count);
}

void RotateHead(float* x, const float* cosine, const float* sine, int64_t half) {
  HWY_DYNAMIC_DISPATCH(Rotate)(x, cosine, sine, half);
}

}  // namespace longleaf::kernels
#endif  // HWY_ONCE
